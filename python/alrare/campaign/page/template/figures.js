// Draws the figures with Plotly, and explains terms. The numbers stand in the element "data".
"use strict";

const alrare = { data: JSON.parse(document.getElementById("data").textContent) };

(() => {
  const { systems, costs } = alrare.data;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
  const palette = ["#4c83c4", "#e08a3c", "#4aa564", "#c9515f", "#9473c0", "#8a7a5c", "#d17fb8", "#7f8790"];

  // Gray for the initial model, then from orange to blue as the model learns.
  function colorOf(iteration, last) {
    if (iteration === null) return color("--ink");
    if (iteration === 0) return dark.matches ? "#8b949e" : "#8c959f";
    const learned = last > 1 ? (iteration - 1) / (last - 1) : 1;
    return `hsl(${(400 - 170 * learned) % 360} 72% ${dark.matches ? 66 : 46}%)`;
  }

  const named = (iteration) =>
    iteration === null ? "labeller" : iteration === 0 ? "initial model" : `iteration ${iteration}`;
  const short = (iteration) => (iteration === null ? "labeller" : String(iteration));

  function axis(title, more) {
    return {
      title: { text: escaped(title), standoff: 10 }, gridcolor: color("--line"), zerolinecolor: color("--line"),
      linecolor: color("--soft"), automargin: true, ...more,
    };
  }

  function layout(more) {
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      font: { family: "system-ui, sans-serif", size: 13, color: color("--ink") },
      margin: { l: 8, r: 8, t: 8, b: 8 }, hovermode: "closest", uirevision: "same",
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      hoverlabel: { bgcolor: color("--card"), bordercolor: color("--soft"), font: { color: color("--ink") } },
      ...more,
    };
  }

  // A group of check boxes; what is on is drawn.
  function addSwitches(place, group, changed) {
    const set = document.createElement("fieldset");
    set.append(Object.assign(document.createElement("legend"), { textContent: group.name }));
    const boxes = group.items.map((item) => {
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: group.on.has(item.key) });
      box.addEventListener("change", () => {
        group.on[box.checked ? "add" : "delete"](item.key);
        changed();
      });
      const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
      item.paint = () => { swatch.style.background = item.color(); };
      label.append(box, ...(item.color ? [swatch] : []), item.label);
      if (item.color) item.paint();
      set.append(label);
      return { box, key: item.key };
    });
    for (const [word, checked] of [["all", true], ["none", false]]) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: word });
      button.setAttribute("aria-label", `${group.name}: ${word}`);
      button.addEventListener("click", () => {
        for (const { box, key } of boxes) {
          box.checked = checked;
          group.on[checked ? "add" : "delete"](key);
        }
        changed();
      });
      if (boxes.length > 2) set.append(button);
    }
    place.append(set);
  }

  // A figure: `traces` and `look` are made anew when the colors change; a trace's `tags` name the
  // item of each group that it belongs to.
  const figures = [];
  function addFigure(id, { groups = [], choice = null, traces, look }) {
    const place = document.getElementById(id);
    if (!place) return;
    const draw = () => {
      const made = traces().map(({ tags = {}, ...trace }) => ({
        ...trace,
        visible: groups.every((group) => !(group.name in tags) || group.on.has(tags[group.name])),
      }));
      for (const group of groups) for (const item of group.items) if (item.color) item.paint?.();
      return Plotly.react(place, made, layout(look()), { displayModeBar: false, responsive: true });
    };
    for (const group of groups) {
      if (group.items.length > 1) addSwitches(document.getElementById(`switches-${id}`), group, draw);
    }
    if (choice) {
      choice.addEventListener("change", draw);
      document.getElementById(`switches-${id}`).append(choice);
    }
    figures.push(draw);
    draw();
  }

  function groupOf(name, keys, items, on = keys) {
    return { name, on: new Set(on), items: keys.map((key, row) => ({ key, ...items(key, row) })) };
  }

  const unique = (values) => [...new Set(values)];
  const unitOf = (observable) => (observable.unit ? ` ${escaped(observable.unit)}` : "");

  function byIteration(system, id) {
    const { observable, by_iteration: rows } = system;
    addFigure(id, {
      traces: () => [{
        name: "model", x: rows.iteration, y: rows.value, customdata: rows.labels,
        error_y: { type: "data", array: rows.sem.map((sem) => sem ?? 0), color: color("--accent"), thickness: 1.5 },
        mode: "lines+markers", line: { color: color("--accent"), width: 2 }, marker: { size: 8 },
        hovertemplate: `iteration %{x}: %{y:.3f}${unitOf(observable)}<br>%{customdata} labels<extra></extra>`,
      }],
      look: () => {
        const level = rows.reference, sem = rows.reference_sem ?? 0;
        const line = { type: "line", xref: "paper", x0: 0, x1: 1, y0: level, y1: level, line: { color: color("--ink"), width: 1.5 } };
        const band = { type: "rect", xref: "paper", x0: 0, x1: 1, y0: level - sem, y1: level + sem, fillcolor: color("--ink"), opacity: 0.14, line: { width: 0 } };
        return {
          xaxis: axis("iteration", { dtick: rows.iteration.length < 20 ? 1 : undefined }),
          yaxis: axis(observable.name + (observable.unit ? ` (${observable.unit})` : "")),
          shapes: level === null ? [] : [band, line],
          annotations: level === null ? [] : [{
            text: "labeller", xref: "paper", x: 1, y: level + sem, xanchor: "right", yanchor: "bottom", showarrow: false,
          }],
        };
      },
    });
  }

  function curves(system, id) {
    const runs = system.curves, { observable } = system;
    const iterations = unique(runs.map((run) => run.iteration));
    const seeds = unique(runs.map((run) => run.seed)).sort((one, other) => one - other);
    const last = Math.max(0, ...iterations.filter((one) => one !== null));
    const shown = iterations.includes(last) ? [null, last] : iterations;
    const groups = [
      groupOf("Iterations", iterations, (key) => ({ label: short(key), color: () => colorOf(key, last) }), shown),
      groupOf("Seeds", seeds, (key) => ({ label: String(key) })),
    ];
    const along = document.createElement("select");
    along.add(new Option(observable.x[1], "x"));
    if (observable.x[0] !== "step") along.add(new Option("MD step", "step"));
    const choice = Object.assign(document.createElement("label"), { className: "choice", textContent: "Along " });
    choice.append(along);
    addFigure(id, {
      groups, choice: along.length > 1 ? choice : null,
      traces: () => runs.map((run) => ({
        tags: { Iterations: run.iteration, Seeds: run.seed },
        name: `${named(run.iteration)}, seed ${run.seed}`, x: run[along.value], y: run.y, mode: "lines+markers",
        line: { color: colorOf(run.iteration, last), width: run.iteration === null ? 1.8 : 1.3 },
        marker: {
          size: run.x.map((_, row) => (row === run.peak ? 10 : 0)), opacity: 1,
          line: { width: run.x.map((_, row) => (row === run.peak ? 1.5 : 0)), color: color("--back") },
        },
        hovertemplate: `%{x:.4g}, %{y:.4g}<extra>${named(run.iteration)}<br>seed ${run.seed}</extra>`,
      })),
      look: () => ({ xaxis: axis(along.selectedOptions[0].text), yaxis: axis(observable.y[1]), uirevision: along.value }),
    });
  }

  // A logarithmic axis; over few decades it has marks between them.
  function decades(values) {
    const far = Math.max(...values) / Math.min(...values) > 100;
    return { type: "log", exponentformat: "power", ...(far ? { dtick: 1 } : {}) };
  }

  function calibration(system, id) {
    const { points, rows } = system.calibration;
    if (!points.error.length) return;
    const iterations = unique(points.iteration), last = Math.max(...iterations);
    const error = points.error.map((value) => Math.max(value, 1e-5));
    const ends = [Math.min(...points.spread) / 1.3, Math.max(...points.spread) * 1.3];
    const factor = rows.length ? rows[rows.length - 1].energy_ratio : null;
    const line = (name, times, dash) => ({
      name, x: ends, y: ends.map((value) => value * times), mode: "lines", hoverinfo: "skip",
      line: { color: color("--ink"), width: 1.5, dash },
    });
    addFigure(id, {
      groups: [groupOf("Iterations", iterations, (key) => ({ label: short(key), color: () => colorOf(key, last) }))],
      traces: () => [
        ...iterations.map((iteration) => {
          const own = points.iteration.flatMap((one, row) => (one === iteration ? [row] : []));
          return {
            tags: { Iterations: iteration }, name: named(iteration), mode: "markers",
            x: own.map((row) => points.spread[row]), y: own.map((row) => error[row]),
            customdata: own.map((row) => points.kind[row]),
            marker: {
              color: colorOf(iteration, last), size: 7, opacity: 0.8,
              symbol: own.map((row) => (points.kind[row] === "candidate" ? "circle" : "diamond")),
            },
            hovertemplate: `%{customdata}<br>spread %{x:.2~s}eV<br>error %{y:.2~s}eV<extra>${named(iteration)}</extra>`,
          };
        }),
        line("error = spread", 1, "solid"),
        ...(factor === null ? [] : [line(`error = ${factor.toFixed(2)} × spread`, factor, "dash")]),
      ],
      look: () => ({
        xaxis: axis("energy_std (eV)", decades(points.spread)),
        yaxis: axis("error (eV)", decades(error)),
      }),
    });
  }

  function labels(system, id) {
    const { edges, counts, event } = system.labels;
    if (!edges.length) return;
    const kinds = Object.keys(counts), middles = edges.slice(1).map((edge, row) => (edge + edges[row]) / 2);
    const hue = (_, row) => () => palette[row % palette.length];
    addFigure(id, {
      groups: [groupOf("From", kinds, (key, row) => ({ label: key, color: hue(key, row) }))],
      traces: () => kinds.map((kind, row) => ({
        tags: { From: kind }, type: "bar", name: escaped(kind), x: middles, y: counts[kind],
        marker: { color: hue(kind, row)() },
        hovertemplate: `at %{x:.3g}: %{y} labels<extra>${escaped(kind)}</extra>`,
      })),
      look: () => ({
        barmode: "stack", bargap: 0.05, xaxis: axis(system.observable.x[1]), yaxis: axis("labels"),
        shapes: event === null ? [] : [{
          type: "line", yref: "paper", y0: 0, y1: 1, x0: event, x1: event, line: { color: color("--ink"), width: 1.5, dash: "dash" },
        }],
      }),
    });
  }

  systems.forEach((system, row) => {
    byIteration(system, `by-iteration-${row}`);
    curves(system, `curves-${row}`);
    calibration(system, `calibration-${row}`);
    labels(system, `labels-${row}`);
  });

  const stages = Object.keys(costs.seconds);
  addFigure("stage-costs", {
    groups: [groupOf("Stages", stages, (key, row) => ({ label: key, color: () => palette[row % palette.length] }))],
    traces: () => stages.map((stage, row) => ({
      tags: { Stages: stage }, type: "bar", name: escaped(stage), x: costs.iterations, y: costs.seconds[stage],
      marker: { color: palette[row % palette.length] },
      hovertemplate: `iteration %{x}: %{y:.1f} s<extra>${escaped(stage)}</extra>`,
    })),
    look: () => ({
      barmode: "stack", xaxis: axis("iteration", { dtick: costs.iterations.length < 20 ? 1 : undefined }),
      yaxis: axis("wall time (s)"),
    }),
  });

  dark.addEventListener("change", () => figures.forEach((draw) => draw()));

  // What a term means, shown beside it as long as the pointer or the focus is on it.
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; };
  for (const term of document.querySelectorAll("a.term")) {
    const show = () => {
      tip.textContent = document.getElementById(term.getAttribute("aria-describedby")).textContent;
      tip.hidden = false;
      const at = term.getBoundingClientRect();
      const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 8));
      tip.style.left = `${left + scrollX}px`;
      tip.style.top = `${at.bottom + scrollY + 6}px`;
    };
    term.addEventListener("mouseenter", show);
    term.addEventListener("focus", show);
    term.addEventListener("mouseleave", hide);
    term.addEventListener("blur", hide);
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
})();
