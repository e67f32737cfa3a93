"use strict";
// The page of one call. Its data stand in the page; a live page asks the server for another call.
(() => {
  const $ = (name) => document.getElementById(name);
  const stage = $("stage"), about = $("about"), slider = $("frame"), count = $("count"), play = $("play");
  let data = JSON.parse($("data").textContent);
  let frame = 0, timer = null, view = data.view;
  const idle = "Hover, tap or focus a cell to see where it comes from and where it goes.";

  const svg = () => stage.querySelector("svg");
  const frames = () => Number(svg().dataset.frames);

  function show(next) {
    frame = Math.max(0, Math.min(frames() - 1, next));
    for (const group of svg().querySelectorAll("g[data-first]")) {
      const seen = Number(group.dataset.first) <= frame && frame < Number(group.dataset.last);
      group.setAttribute("visibility", seen ? "visible" : "hidden");
    }
    slider.max = frames() - 1;
    slider.value = frame;
    count.textContent = `${frame + 1} / ${frames()}`;
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  }

  function toggle() {
    if (timer) return stop();
    if (frame >= frames() - 1) show(0);
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => (frame >= frames() - 1 ? stop() : show(frame + 1)), Math.max(60, Math.min(700, 48000 / frames())));
  }

  function put(text) {
    stage.innerHTML = text;
    const still = Number(svg().dataset.still);
    for (const cell of stage.querySelectorAll("rect[data-panel]")) cell.setAttribute("tabindex", "-1");
    const first = stage.querySelector('rect[data-panel="output"]');
    if (first) first.setAttribute("tabindex", "0");
    show(still);
    clear();
  }

  // The cell of a flat index, in words.
  function cell(index, size) {
    const parts = [];
    for (let axis = size.length - 1; axis >= 0; axis--) {
      parts.unshift(index % size[axis]);
      index = Math.floor(index / size[axis]);
    }
    return `[${parts.join(", ")}]`;
  }

  // A convolution reads what the transposed one writes.
  const turned = () => view === "convolution";
  const sides = () => (turned() ? { input: 2, kernel: 1, output: 0 } : { input: 0, kernel: 1, output: 2 });
  const sizes = () => [data.trace.input, data.trace.kernel, data.trace.output];

  function clear() {
    for (const lit of stage.querySelectorAll(".here, .from"))
      if (lit.matches(".mark")) lit.remove();
      else lit.classList.remove("here", "from");
    about.textContent = idle;
  }

  // Marks lie above whatever the frame paints on a cell.
  function light(panel, indices, name) {
    const wanted = new Set(indices.map(String));
    for (const shape of stage.querySelectorAll(`rect[data-panel="${panel}"]`)) {
      if (!wanted.has(shape.dataset.cell)) continue;
      shape.classList.add(name);
      const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const side of ["x", "y", "width", "height"]) mark.setAttribute(side, shape.getAttribute(side));
      mark.setAttribute("class", `mark ${name}`);
      svg().append(mark);
    }
  }

  function reached(tap, known) {
    const found = (data.trace.reached || []).find((entry) => entry[0] === tap);
    return found ? found[1] : known;
  }

  function explore(panel, index) {
    clear();
    const place = sides(), own = place[panel], size = sizes();
    const met = data.trace.meetings.filter((meeting) => meeting[own] === index && meeting[2] !== null);
    for (const other of ["input", "kernel", "output"])
      if (other !== panel) light(other, met.map((meeting) => meeting[place[other]]), "from");
    light(panel, [index], "here");
    const terms = met.slice(0, 12).map((m) => `x${cell(m[place.input], size[place.input])}·w${cell(m[1], size[1])}`);
    const rest = met.length > 12 ? ` + ${met.length - 12} more` : "";
    const name = cell(index, size[own]);
    if (panel === "output") about.textContent = `output ${name} = ${terms.join(" + ") || "0: no input reaches it"}${rest}`;
    else {
      const goals = [...new Set(met.map((m) => m[place.output]))];
      // Of a larger layer not all that a tap reaches is here.
      const all = panel === "kernel" ? reached(index, goals.length) : goals.length;
      const words = goals.slice(0, 12).map((goal) => cell(goal, size[place.output])).join(" ");
      about.textContent = `${panel} ${name} reaches ${all} output ${all === 1 ? "cell" : "cells"}${all > goals.length ? ", here" : ":"} ${words}${all > 12 ? " ..." : ""}`;
    }
  }

  const target = (event) => event.target.closest?.("rect[data-panel]");
  const at = (shape) => explore(shape.dataset.panel, Number(shape.dataset.cell));
  stage.addEventListener("pointerover", (event) => { const shape = target(event); if (shape) at(shape); });
  stage.addEventListener("pointerleave", clear);
  stage.addEventListener("focusin", (event) => { const shape = target(event); if (shape) at(shape); });
  stage.addEventListener("click", (event) => { const shape = target(event); if (shape) at(shape); });

  const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  function walk(shape, [rows, columns]) {
    const size = sizes()[sides()[shape.dataset.panel]], width = size[size.length - 1], index = Number(shape.dataset.cell);
    // The nearest drawn cell in that direction: over the break of a larger layer, too.
    const column = index % width, row = Math.floor(index / width);
    let next = null, nearest = Infinity;
    for (const other of stage.querySelectorAll(`rect[data-panel="${shape.dataset.panel}"]`)) {
      const place = Number(other.dataset.cell), across = (place % width) - column, down = Math.floor(place / width) - row;
      const ahead = rows ? down * rows : across * columns;
      if ((rows ? across : down) || ahead <= 0 || ahead >= nearest) continue;
      [next, nearest] = [other, ahead];
    }
    if (!next) return;
    shape.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  }

  document.addEventListener("keydown", (event) => {
    const own = event.target;
    if (own.matches("rect[data-panel]") && ARROWS[event.key]) {
      event.preventDefault();
      return walk(own, ARROWS[event.key]);
    }
    if (own.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && !own.matches("button")) { event.preventDefault(); toggle(); }
    else if (event.key === "ArrowRight") { stop(); show(frame + 1); }
    else if (event.key === "ArrowLeft") { stop(); show(frame - 1); }
    else if (event.key === "Home") { stop(); show(0); }
    else if (event.key === "End") { stop(); show(frames() - 1); }
    else {
      const names = { s: "scatter", g: "gather", c: "convolution", h: "coverage" };
      const box = names[event.key] && document.querySelector(`input[name="view"][value="${names[event.key]}"]`);
      if (box) { box.checked = true; choose(box.value); }
    }
  });

  play.addEventListener("click", toggle);
  $("step").addEventListener("click", () => { stop(); show(frame + 1); });
  $("back").addEventListener("click", () => { stop(); show(frame - 1); });
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });

  async function choose(name) {
    stop();
    view = name;
    if (data.drawings[name]) put(data.drawings[name]);
    if (live) await ask();
  }
  for (const box of document.querySelectorAll('input[name="view"]')) box.addEventListener("change", () => choose(box.value));

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const text = button.closest(".code").querySelector("pre").textContent;
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(button.closest(".code").querySelector("pre")); button.textContent = "Selected"; }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });

  // The live page: sliders, and the link that brings one back here.
  const form = $("controls"), live = Boolean(form);
  let turn = 0;

  function query() {
    const apart = form.elements.apart.checked, axes = Number(form.elements.axes.value);
    const value = (name) => {
      const row = form.elements[name].value;
      if (axes === 1) return row;
      const [plane, column] = apart ? ["plane", "column"].map((end) => form.elements[`${name}-${end}`].value) : [row, row];
      return axes === 2 ? `${row}x${column}` : `${plane}x${row}x${column}`;
    };
    const words = new URLSearchParams();
    for (const name of ["input", "kernel", "strides", "dilation"]) words.set(name, value(name));
    const rule = form.elements.rule.value;
    words.set("padding", rule === "number" ? value("padding") : rule);
    if (rule === "number") words.set("output_padding", value("output_padding"));
    words.set("view", view);
    return words;
  }

  function fits() {
    for (const box of form.querySelectorAll("input[type=range]")) {
      const out = box.closest("label").querySelector("output");
      if (out) out.textContent = box.value;
    }
    document.body.dataset.axes = form.elements.axes.value;
    const number = form.elements.rule.value === "number";
    for (const box of form.querySelectorAll(".explicit input")) box.disabled = !number;
  }

  async function ask(words = query()) {
    const own = ++turn;
    let answer, text;
    try {
      const reply = await fetch(`draw?${words}`);
      answer = await reply.json();
      text = reply.ok ? "" : answer.error;
    } catch { text = "The server does not answer; is backstride explore still running?"; }
    if (own !== turn) return;
    $("problem").textContent = text;
    if (text) return;
    data = answer;
    view = answer.view;
    $("headline").textContent = answer.headline;
    $("asked").textContent = form.elements.call.value = answer.call;
    $("facts").innerHTML = answer.facts;
    $("code").innerHTML = answer.code;
    put(answer.drawings[view]);
    history.replaceState(null, "", `?${words}`);
    $("link").href = location.href;
  }

  if (live) {
    fits();
    form.addEventListener("input", (event) => {
      if (event.target.name === "call") return;
      stop();
      fits();
      ask();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const words = new URLSearchParams({ call: form.elements.call.value, input: query().get("input"), view });
      location.search = words.toString();
    });
    $("share").addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(location.href); $("share").textContent = "Link copied"; }
      catch { $("share").textContent = location.href; }
      setTimeout(() => { $("share").textContent = "Copy link"; }, 1500);
    });
  }

  put(data.drawings[view]);
})();
