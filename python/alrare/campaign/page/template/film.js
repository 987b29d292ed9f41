// Shows the film of the event with 3Dmol.js: the model's run and the labeller's, frame by frame.
"use strict";

(() => {
  const { films, systems } = alrare.data;
  if (!films.length) return;
  const element = (id) => document.getElementById(id);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const run = element("film-run"), slider = element("film-frame"), play = element("film-play");
  const PER_SECOND = 12;
  const viewers = new Map(); // a browser has few 3D canvases: each is made once
  let film = null, views = [], timer = null, linked = false;

  films.forEach((one, row) => {
    const of = systems.length > 1 ? `${one.system}, ` : "";
    run.add(new Option(`${of}seed ${one.seed}`, row));
  });

  const nameOf = (pair) => pair.map((atom) => `${film.elements[atom]}${atom + 1}`).join("–");
  const named = (pairs) => pairs.slice(0, 3).map(nameOf).join(", ") + (pairs.length > 3 ? ` and ${pairs.length - 3} more` : "");
  const at = (side, frame, atom) => {
    const begin = 3 * (frame * film.elements.length + atom);
    const [x, y, z] = side.positions.slice(begin, begin + 3);
    return { x: x / 1000, y: y / 1000, z: z / 1000 };
  };

  // The frame in which the atoms are farthest apart: the camera is set so that it fits.
  function widest(side) {
    const size = 3 * film.elements.length;
    let best = 0, most = 0;
    for (let frame = 0; frame < film.steps.length; frame += 1) {
      const far = Math.max(...side.positions.slice(frame * size, (frame + 1) * size).map(Math.abs));
      if (far > most) [best, most] = [frame, far];
    }
    return best;
  }

  function drawSide({ side, viewer, state }, frame) {
    const atoms = viewer.getModel().selectedAtoms({});
    const broken = side.broken[frame], formed = side.formed[frame];
    const gone = new Set(broken.map(String));
    atoms.forEach((atom, row) => Object.assign(atom, at(side, frame, row), { bonds: [], bondOrder: [] }));
    for (const pair of side.bonds) {
      if (gone.has(String(pair))) continue;
      const [one, other] = pair;
      atoms[one].bonds.push(other);
      atoms[one].bondOrder.push(1);
      atoms[other].bonds.push(one);
      atoms[other].bondOrder.push(1);
    }
    viewer.setStyle({}, { stick: { radius: 0.13 }, sphere: { scale: 0.27 } });
    viewer.removeAllShapes();
    const mark = (pairs, name, dashed) => {
      for (const [one, other] of pairs) {
        viewer.addCylinder({
          start: at(side, frame, one), end: at(side, frame, other), radius: 0.11, color: color(name),
          dashed, dashLength: 0.25, gapLength: 0.15, fromCap: 1, toCap: 1,
        });
      }
    };
    mark(broken, "--broken", true);
    mark(formed, "--formed", false);
    viewer.render();

    const parts = [];
    if (side.cv) parts.push([`${film.axis} ${side.cv[frame].toFixed(2)}`]);
    if (broken.length) parts.push([`broken: ${named(broken)}`, "broken"]);
    if (formed.length) parts.push([`formed: ${named(formed)}`, "formed"]);
    if (!broken.length && !formed.length) parts.push(["all bonds whole"]);
    if (film.steps[frame] > side.last) parts.push([`the run ended at step ${side.last}`]);
    state.replaceChildren(...parts.flatMap(([text, name], row) => {
      const span = Object.assign(document.createElement("span"), { textContent: text, className: name ?? "" });
      return row ? [" · ", span] : [span];
    }));
  }

  function show(frame) {
    slider.value = frame;
    const text = `Frame ${frame + 1} of ${film.steps.length} · MD step ${film.steps[frame]}`;
    element("film-counter").textContent = text;
    slider.setAttribute("aria-valuetext", text);
    views.forEach((view) => drawSide(view, frame));
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-label", "Play the film");
  }

  function start() {
    if (!film) choose(0);
    const last = film.steps.length - 1;
    if (Number(slider.value) >= last) show(0);
    play.textContent = "Pause";
    play.setAttribute("aria-label", "Pause the film");
    timer = setInterval(() => {
      show(Math.min(Number(slider.value) + 1, last));
      if (Number(slider.value) >= last) stop();
    }, 1000 / PER_SECOND);
  }

  function makeView(place, side) {
    const view = place.querySelector(".view");
    place.hidden = !side;
    if (!side) return null;
    place.querySelector("figcaption").textContent = side.title;
    view.setAttribute("aria-label", `${side.title}: atoms and bonds in 3D; the arrow keys turn them`);
    view.tabIndex = 0;
    if (!viewers.has(place)) {
      viewers.set(place, $3Dmol.createViewer(view, { backgroundColor: color("--card"), antialias: true }));
    }
    const viewer = viewers.get(place);
    viewer.removeAllShapes();
    viewer.removeAllModels();
    const model = viewer.addModel();
    const first = widest(side);
    model.addAtoms(film.elements.map((elem, row) => ({ elem, serial: row, bonds: [], bondOrder: [], ...at(side, first, row) })));
    viewer.setStyle({}, { sphere: { scale: 0.27 } });
    viewer.zoomTo();
    viewer.zoom(1.25);
    const turn = { ArrowLeft: [-10, "y"], ArrowRight: [10, "y"], ArrowUp: [-10, "x"], ArrowDown: [10, "x"] };
    view.onkeydown = (event) => {
      if (!(event.key in turn)) return;
      event.preventDefault();
      viewer.rotate(...turn[event.key]);
      viewer.render();
    };
    return { side, viewer, state: place.querySelector(".state") };
  }

  function choose(row) {
    stop();
    film = films[row];
    slider.max = film.steps.length - 1;
    try {
      const canvas = document.createElement("canvas");
      if (!canvas.getContext("webgl2") && !canvas.getContext("webgl")) throw new Error("no WebGL");
      views = ["film-left", "film-right"].map((id, place) => makeView(element(id), film.sides[place])).filter(Boolean);
    } catch (error) {
      element("movie").replaceChildren(Object.assign(document.createElement("p"), {
        className: "missing", textContent: "No film: this browser shows no 3D graphics (WebGL is off or missing).",
      }));
      return;
    }
    const [one, other] = views.map((view) => view.viewer);
    if (other) {
      other.setView(one.getView());
      if (!linked) {
        one.linkViewer(other);
        other.linkViewer(one);
        linked = true;
      }
    }
    show(0);
  }

  play.addEventListener("click", () => (timer === null ? start() : stop()));
  slider.addEventListener("input", () => {
    stop();
    if (film) show(Number(slider.value));
  });
  run.addEventListener("change", () => choose(Number(run.value)));
  element("film-event").addEventListener("click", () => {
    stop();
    if (!film) choose(0);
    const changed = film.steps.findIndex((_, frame) =>
      film.sides.some((side) => side.broken[frame].length || side.formed[frame].length));
    show(Math.max(changed, 0));
  });
  for (const view of document.querySelectorAll(".view")) {
    // The wheel alone scrolls the page.
    view.addEventListener("wheel", (event) => { if (!event.ctrlKey) event.stopPropagation(); }, true);
  }
  dark.addEventListener("change", () => viewers.forEach((viewer) => viewer.setBackgroundColor(color("--card"))));
  // 3D graphics are begun only when the film comes near the window.
  const near = new IntersectionObserver((seen) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    near.disconnect();
    if (!film) choose(0);
  }, { rootMargin: "300px" });
  near.observe(element("movie"));
})();
