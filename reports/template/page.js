"use strict";
// Draws each series so that it can be zoomed, in the place of the drawing that the page already has, and unfolds what a
// link leads to. Without this script the page shows the same numbers.
(() => {
const MIB = 1048576;
const LEFT = 64, HEIGHT = 300;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

// Differences back to values.
const values = (differences) => { let at = 0; return differences.map((step) => at += step); };

// A sample of nothing in each gap, so that no line is drawn through what was not seen.
function table(data) {
  const scale = data.step / MIB;
  const t = values(data.t), a = values(data.a), f = values(data.f);
  const s = data.s.length ? values(data.s) : t.map(() => 0);
  const rows = t.map((ms, i) => [ms / 1000, (a[i] + f[i] + s[i]) * scale, (a[i] + f[i]) * scale, a[i] * scale]);
  for (const [from, to] of data.gaps) rows.push([(from + to) / 2000, null, null, null]);
  rows.sort((one, other) => one[0] - other[0]);
  return [0, 1, 2, 3].map((column) => rows.map((row) => row[column]));
}

function around(plot, data) {
  const { ctx, bbox } = plot, ratio = devicePixelRatio || 1;
  const x = (seconds) => plot.valToPos(seconds, "x", true), y = (mib) => plot.valToPos(mib, "y", true);
  const clipped = (draw) => { ctx.save(); ctx.beginPath(); ctx.rect(bbox.left, bbox.top - 18 * ratio, bbox.width, bbox.height + 18 * ratio); ctx.clip(); draw(); ctx.restore(); };
  return {
    below: () => clipped(() => data.phases.forEach(([, from, to], index) => {
      if (index % 2) return;
      ctx.globalAlpha = .06; ctx.fillStyle = colour("ink");
      ctx.fillRect(x(from / 1000), bbox.top, x(to / 1000) - x(from / 1000), bbox.height);
    })),
    above: () => clipped(() => {
      ctx.font = `${12 * ratio}px system-ui, sans-serif`; ctx.textBaseline = "alphabetic"; ctx.textAlign = "left";
      let free = -Infinity;
      for (const [name, from, to, peak] of data.phases) {
        const start = Math.max(x(from / 1000), bbox.left), end = x(to / 1000);
        if (end > bbox.left && start >= free && start < bbox.left + bbox.width) {
          ctx.fillStyle = colour("soft"); ctx.fillText(name, start + 3 * ratio, bbox.top - 5 * ratio);
          free = start + ctx.measureText(name).width + 8 * ratio;
        }
        if (peak !== null) { ctx.strokeStyle = colour("peak"); ctx.lineWidth = 2 * ratio; line(ctx, x(from / 1000), y(peak), Math.max(end, x(from / 1000) + 3), y(peak)); }
      }
      for (const [name, mib, fails] of data.budgets) {
        if (y(mib) < bbox.top) continue;
        ctx.strokeStyle = ctx.fillStyle = colour(fails ? "fail" : "warn"); ctx.lineWidth = 1.75 * ratio;
        ctx.setLineDash(fails ? [7 * ratio, 4 * ratio] : [2 * ratio, 4 * ratio]);
        line(ctx, bbox.left, y(mib), bbox.left + bbox.width, y(mib)); ctx.setLineDash([]);
        if (fails) { ctx.textAlign = "right"; ctx.fillText(`${name} ${mib.toFixed(1)} MiB`, bbox.left + bbox.width - 4 * ratio, y(mib) - 5 * ratio); ctx.textAlign = "left"; }
      }
      for (const [from, to] of data.gaps) { ctx.globalAlpha = .25; ctx.fillStyle = colour("u1"); ctx.fillRect(x(from / 1000), bbox.top, Math.max(2, x(to / 1000) - x(from / 1000)), bbox.height); ctx.globalAlpha = 1; }
      ctx.fillStyle = colour("ink");
      for (const ms of data.events) {
        const at = x(ms / 1000), foot = bbox.top + bbox.height, half = 4 * ratio;
        ctx.beginPath(); ctx.moveTo(at, foot - 2 * half); ctx.lineTo(at + half, foot); ctx.lineTo(at - half, foot); ctx.fill();
      }
    }),
  };
}

function line(ctx, x1, y1, x2, y2) { ctx.beginPath(); ctx.moveTo(x1, y1); ctx.lineTo(x2, y2); ctx.stroke(); }

function draw(figure) {
  const data = JSON.parse(figure.dataset.series), columns = table(data), shared = data.s.length > 0;
  const fixed = figure.querySelector(".wide"), name = fixed.querySelector("svg").getAttribute("aria-label");
  const box = document.createElement("div"), said = document.createElement("output");
  box.className = "zoom"; box.tabIndex = 0;
  box.setAttribute("role", "application");
  box.setAttribute("aria-roledescription", "chart");
  box.setAttribute("aria-label", `${name} Arrow keys move, plus and minus zoom, 0 shows all.`);
  said.textContent = "Drag over a stretch to zoom, double-click to see all. Keys: arrows, +, −, 0.";
  fixed.after(box, said);
  figure.classList.add("live");
  let plot;
  const phase = (seconds) => (data.phases.find(([, from, to]) => seconds * 1000 >= from && seconds * 1000 <= to) || ["between phases"])[0];
  const tell = (at) => {
    const [t, total, owned, anonymous] = columns.map((column) => column[at]);
    if (total == null) return;
    const parts = [`anonymous ${anonymous.toFixed(1)}`, `mapped files ${(owned - anonymous).toFixed(1)}`];
    if (shared) parts.push(`shared ${(total - owned).toFixed(1)}`);
    said.textContent = `${t.toFixed(2)} s, ${phase(t)}: ${total.toFixed(1)} MiB (${parts.join(", ")})`;
  };
  const fill = (label, look, show = true) => ({ label, show, width: 0, fill: colour(look), points: { show: false } });
  const axis = (size, text) => ({ stroke: colour("soft"), size, values: (_, ticks) => ticks.map(text), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" });
  const make = () => {
    const within = data.budgets.map(([, mib]) => mib);
    const most = Math.max(...columns[1], ...data.phases.map(([, , , peak]) => peak || 0));
    const top = Math.max(most, ...within.filter((mib) => mib <= most * 2.5)) * 1.06;
    let hooks;
    plot = new uPlot({
      width: box.clientWidth || 900, height: HEIGHT, padding: [22, 10, 0, 0], legend: { show: false },
      scales: { x: { time: false }, y: { range: [0, top] } },
      cursor: { points: { show: false }, drag: { x: true, y: false } },
      axes: [axis(32, (s) => `${+s.toFixed(3)} s`), axis(LEFT, (mib) => mib.toLocaleString("en"))],
      series: [{}, fill("resident", "shmem", shared), fill("anonymous and files", "file"), fill("anonymous", "anon")],
      hooks: {
        init: [(plot) => { hooks = around(plot, data); }],
        drawAxes: [() => hooks.below()],
        draw: [() => hooks.above()],
        setCursor: [(plot) => { if (plot.cursor.idx != null) tell(plot.cursor.idx); }],
      },
    }, columns, box);
  };
  make();
  const again = () => { plot.destroy(); make(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new ResizeObserver(() => { if (box.clientWidth && box.clientWidth !== plot.width) plot.setSize({ width: box.clientWidth, height: HEIGHT }); }).observe(box);
  box.addEventListener("keydown", (event) => {
    const times = columns[0], last = times.length - 1, { min, max } = plot.scales.x;
    const at = plot.cursor.idx ?? times.findIndex((t) => t >= min);
    const show = (from, to) => plot.setScale("x", { min: Math.max(times[0], from), max: Math.min(times[last], to) });
    const middle = times[at] ?? (min + max) / 2, zoom = (factor) => show(middle - (middle - min) * factor, middle + (max - middle) * factor);
    const move = (by) => {
      const to = Math.min(last, Math.max(0, at + by)), seconds = times[to];
      if (seconds < min || seconds > max) show(seconds - (max - min) / 2, seconds + (max - min) / 2);
      plot.setCursor({ left: plot.valToPos(seconds, "x"), top: 10 });
      tell(to);
    };
    const keys = { ArrowLeft: () => move(-1), ArrowRight: () => move(1), PageUp: () => move(-25), PageDown: () => move(25), Home: () => move(-last), End: () => move(last), "+": () => zoom(.5), "=": () => zoom(.5), "-": () => zoom(2), 0: () => show(times[0], times[last]) };
    if (keys[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) { keys[event.key](); event.preventDefault(); }
  });
}

// Only what is looked at is drawn.
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) { seen.unobserve(target); draw(target); }
}, { rootMargin: "200px" });
document.querySelectorAll("figure[data-series]").forEach((figure) => seen.observe(figure));

// What is wider than the page can be scrolled by keyboard, too.
const reachable = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const isWider = target.scrollWidth > target.clientWidth;
    if (isWider) { target.tabIndex = 0; target.setAttribute("role", "group"); target.setAttribute("aria-label", "wide, scrolls sideways"); }
    else { target.removeAttribute("tabindex"); target.removeAttribute("role"); target.removeAttribute("aria-label"); }
  }
});
document.querySelectorAll(".scroll").forEach((one) => reachable.observe(one));

// What a link leads to is unfolded: itself, what it lies in, and in a cell its classes.
function unfold() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  const classes = document.getElementById(`${target.id}--classes`);
  if (classes) classes.open = true;
  const heading = target.querySelector("summary, a, th") || target;
  if (!heading.matches("summary, a")) heading.tabIndex = -1;
  target.scrollIntoView();
  heading.focus({ preventScroll: true });
}
addEventListener("hashchange", unfold);
unfold();
})();
