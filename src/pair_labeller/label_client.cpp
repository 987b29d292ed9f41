// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_labeller/label_client.h"

#include "pair_labeller/label_protocol.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace alrare {

namespace {

RequestHead head_of(const LabelRequest &request, RequestKind kind) {
  RequestHead head;
  std::copy(std::begin(label_magic), std::end(label_magic), head.magic);
  head.kind = kind;
  head.n_atoms = static_cast<std::int32_t>(request.elements.size());
  for (int k = 0; k < 3; ++k)
    head.periodic |= static_cast<std::int32_t>(request.periodic[k]) << k;
  return head;
}

} // namespace

LabelClient::LabelClient(std::string socket) : socket_(std::move(socket)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.size() >= sizeof address.sun_path)
    throw std::runtime_error("'" + socket_ + "': the path of a socket has at most " +
                             std::to_string(sizeof address.sun_path - 1) +
                             " characters, this has " + std::to_string(socket_.size()));
  std::copy(socket_.begin(), socket_.end(), address.sun_path);
  descriptor_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor_ < 0 ||
      connect(descriptor_, reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0) {
    const std::string why = std::strerror(errno);
    if (descriptor_ >= 0)
      close(descriptor_);
    throw std::runtime_error("no label server listens at '" + socket_ + "': " + why +
                             "; start one first, on this machine");
  }
}

LabelClient::~LabelClient() { close(descriptor_); }

bool LabelClient::label(const LabelRequest &request, LabelValues &values) {
  if (request.elements != elements_ || request.periodic != periodic_)
    begin(request);
  const RequestHead head = head_of(request, RequestKind::label);
  LabelHead more{};
  more.step = request.step;
  std::copy(request.cell.begin(), request.cell.end(), more.cell);
  send(&head, sizeof head);
  send(&more, sizeof more);
  send(request.positions.data(), request.positions.size() * sizeof(double));
  bool last = false;
  const std::size_t size = receive_head(last);
  const std::size_t least = (1 + request.positions.size()) * sizeof(double);
  if (size != least && size != least + 6 * sizeof(double))
    gone("answered with " + std::to_string(size) + " bytes, expected " + std::to_string(least) +
         " or 48 more");
  values.resize(size / sizeof(double));
  receive(values.data(), size);
  return last;
}

void LabelClient::begin(const LabelRequest &request) {
  const RequestHead head = head_of(request, RequestKind::begin);
  std::string symbols(symbol_size * request.elements.size(), '\0');
  for (std::size_t i = 0; i < request.elements.size(); ++i)
    symbols.replace(symbol_size * i, request.elements[i].size(), request.elements[i]);
  send(&head, sizeof head);
  send(symbols.data(), symbols.size());
  bool last = false;
  if (const std::size_t size = receive_head(last); size != 0)
    gone("answered with " + std::to_string(size) + " bytes, expected none");
  elements_ = request.elements;
  periodic_ = request.periodic;
}

/// Bytes of the body of an answer that is no failure.
std::size_t LabelClient::receive_head(bool &last) {
  AnswerHead head{};
  receive(&head, sizeof head);
  if (head.size < 0)
    gone("does not speak this protocol");
  last = head.status == AnswerStatus::last;
  if (last || head.status == AnswerStatus::ok)
    return static_cast<std::size_t>(head.size);
  std::string why(static_cast<std::size_t>(head.size), ' ');
  receive(why.data(), why.size());
  throw std::runtime_error(why);
}

void LabelClient::send(const void *data, std::size_t size) {
  const auto *next = static_cast<const char *>(data);
  while (size > 0) {
    const ssize_t sent = ::send(descriptor_, next, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0)
      gone(std::string("is gone (") + std::strerror(errno) + ")");
    next += sent;
    size -= static_cast<std::size_t>(sent);
  }
}

void LabelClient::receive(void *data, std::size_t size) {
  auto *next = static_cast<char *>(data);
  while (size > 0) {
    const ssize_t got = recv(descriptor_, next, size, 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      gone(std::string("is gone (") + std::strerror(errno) + ")");
    if (got == 0)
      gone("is gone: it closed the connection before it answered");
    next += got;
    size -= static_cast<std::size_t>(got);
  }
}

void LabelClient::gone(const std::string &how) const {
  throw std::runtime_error("the label server at '" + socket_ + "' " + how);
}

} // namespace alrare
