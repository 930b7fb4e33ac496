// Drives a headless Chromium over its debugging pipe: nothing to install, and no port that another program could take.
//   node ci/page.mjs BROWSER REPORT FOLDER AXE
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [browser, report, folder, axe] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "page-"));
const child = spawn(browser, [
  "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe",
  // Nothing has a name, and what needs none goes to a proxy that is not there: the page is alone.
  "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--disable-background-networking",
  `--user-data-dir=${profile}`, "about:blank",
], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });

let next = 0, rest = "";
const waiting = new Map(), listeners = [];
child.stdio[4].on("data", (bytes) => {
  rest += bytes;
  for (let end; (end = rest.indexOf("\0")) >= 0;) {
    const message = JSON.parse(rest.slice(0, end));
    rest = rest.slice(end + 1);
    const { resolve, reject } = waiting.get(message.id) ?? {};
    waiting.delete(message.id);
    if (message.error) reject?.(new Error(message.error.message)); else resolve?.(message.result);
    if (message.method) listeners.forEach((listener) => listener(message));
  }
});
const call = (method, params = {}, sessionId) => new Promise((resolve, reject) => {
  waiting.set(++next, { resolve, reject });
  child.stdio[3].write(JSON.stringify({ id: next, method, params, sessionId }) + "\0");
});
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

let failed = 0;
const check = (what, holds, detail = "") => {
  if (!holds) failed += 1;
  console.log(`${holds ? "ok  " : "FAIL"} ${what}${!holds && detail ? `: ${detail}` : ""}`);
};

// One tab with everything that it complains of, and everything that it asks for.
async function open({ width = 1280, height = 720, dark = false, scripts = true } = {}) {
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
  const said = [], asked = [];
  const listener = (message) => {
    if (message.sessionId !== sessionId) return;
    const { method, params } = message;
    if (method === "Runtime.exceptionThrown") said.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === "Runtime.consoleAPICalled" && ["error", "warning", "assert"].includes(params.type)) said.push(params.args.map((arg) => arg.value ?? arg.description).join(" "));
    if (method === "Log.entryAdded" && params.entry.level === "error") said.push(params.entry.text);
    if (method === "Network.requestWillBeSent" && !params.request.url.startsWith("data:")) asked.push(params.request.url);
  };
  listeners.push(listener);
  const send = (method, params) => call(method, params, sessionId);
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await send(`${domain}.enable`);
  await send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 500 });
  await send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }, { name: "prefers-reduced-motion", value: "reduce" }] });
  if (!scripts) await send("Emulation.setScriptExecutionDisabled", { value: true });
  const loaded = new Promise((done) => listeners.push((message) => { if (message.sessionId === sessionId && message.method === "Page.loadEventFired") done(); }));
  await send("Page.navigate", { url: pathToFileURL(report).href });
  await loaded;
  await pause(400);
  return {
    said, asked, send,
    async value(expression) {
      const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    },
    async press(key, code = key, text) {
      const windowsVirtualKeyCode = { Tab: 9, Enter: 13, ArrowRight: 39 }[key];
      await send("Input.dispatchKeyEvent", { type: "keyDown", key, code, windowsVirtualKeyCode, text });
      await send("Input.dispatchKeyEvent", { type: "keyUp", key, code, windowsVirtualKeyCode });
      await pause(60);
    },
    async shot(name, whole = false) {
      const { data } = await send("Page.captureScreenshot", { format: "png", captureBeyondViewport: whole });
      writeFileSync(join(folder, name), Buffer.from(data, "base64"));
    },
    close: () => call("Target.closeTarget", { targetId }),
  };
}

try {
  const page = await open();
  check("the page asks for nothing but itself", page.asked.every((url) => url.startsWith("file:")), page.asked.join(", "));
  await page.shot("light.png");
  // Everything is unfolded and scrolled past, so that every chart is drawn.
  await page.value(`(async () => {
    document.querySelectorAll("details").forEach((one) => one.open = true);
    for (const figure of document.querySelectorAll("figure.series")) { figure.scrollIntoView(); await new Promise((done) => setTimeout(done, 60)); }
  })()`);
  const charts = await page.value(`[...document.querySelectorAll("svg[role=img]")].map((svg) => {
    const near = svg.closest("figure") ?? svg.closest(".scroll");
    let at = near; while (at && !(at.matches?.("details.data") && at.querySelector("table"))) at = at.nextElementSibling;
    return [svg.getAttribute("aria-label")?.length > 0, Boolean(at), svg.getAttribute("aria-label")];
  })`);
  check(`every one of ${charts.length} charts says its finding`, charts.length > 0 && charts.every(([named]) => named));
  const bare = charts.filter(([, table]) => !table);
  check("every chart has its table", bare.length === 0, bare.map(([, , name]) => name).join("; "));
  const live = await page.value(`[document.querySelectorAll("figure[data-series]").length, document.querySelectorAll(".zoom canvas").length]`);
  check(`all ${live[0]} series can be zoomed`, live[0] === live[1], `${live[1]} are drawn`);
  if (live[1] > 0) {
    await page.value(`(() => { const box = document.querySelector(".zoom"); box.scrollIntoView(); box.focus(); })()`);
    await page.press("ArrowRight"); await page.press("ArrowRight");
    const told = await page.value(`document.querySelector("figure output").textContent`);
    check("the keyboard reads a series", / MiB /.test(told), told);
    await page.press("+", "Equal", "+");
    await page.shot("series.png");
  }
  check("the console is silent", page.said.length === 0, page.said.join(" | "));
  if (axe) {
    await page.value(readFileSync(axe, "utf8"));
    const found = await page.value(`axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, count: nodes.length, first: nodes[0].html.slice(0, 160), why: nodes[0].failureSummary })))`);
    const serious = found.filter(({ impact }) => ["serious", "critical"].includes(impact));
    check("axe-core finds nothing serious", serious.length === 0, JSON.stringify(serious, null, 1));
    for (const { id, impact, help, count } of found) if (!serious.some((one) => one.id === id)) console.log(`     ${impact}: ${id}, ${help} (${count})`);
  }
  await page.close();

  // From FAIL to the buffer: the cell, its class, and the buffer is in front of the reader.
  const keys = await open();
  const behind = await keys.value(`(() => { const link = document.querySelector(".worst .behind a"); return link && [link.getAttribute("href"), link.textContent.trim(), document.querySelector(".worst .behind .mono")?.textContent ?? ""]; })()`);
  if (behind) {
    let steps = 0;
    const reach = async (test) => {
      for (let press = 0; press < 400; press += 1) {
        if (await keys.value(`(() => { const at = document.activeElement; return Boolean(at && (${test})); })()`)) return true;
        await keys.press("Tab");
      }
      return false;
    };
    const [target, name, buffer] = behind;
    check("Tab reaches the worst cell", await reach(`at.matches(".worst th a")`));
    await keys.press("Enter", "Enter", "\r"); steps += 1;
    check("Enter leads to the cell", await keys.value(`document.activeElement.closest("details.cell")?.open === true`));
    await keys.value(`history.back(), new Promise((done) => setTimeout(done, 200))`);
    check(`Tab reaches the class, ${name}`, await reach(`at.getAttribute("href") === ${JSON.stringify(target)}`));
    await keys.press("Enter", "Enter", "\r"); steps += 1;
    const seen = await keys.value(`(() => {
      const body = document.querySelector(location.hash), box = body?.getBoundingClientRect();
      return [body?.textContent ?? "", Boolean(box && box.height && box.top < innerHeight && box.bottom > 0), body?.rows.length ?? 0];
    })()`);
    check(`the class and its buffers are in view after ${steps} steps`, steps <= 3 && seen[1] && seen[0].includes(name) && seen[0].includes(buffer), JSON.stringify(seen));
    await keys.shot("class.png");
    check("the console stays silent", keys.said.length === 0, keys.said.join(" | "));
  } else {
    check("the worst cells name a class", false);
  }
  await keys.close();

  const plain = await open({ scripts: false });
  const tree = await plain.send("DOM.getDocument", { depth: 0 });
  const { outerHTML } = await plain.send("DOM.getOuterHTML", { nodeId: tree.root.nodeId });
  const verdict = /id="verdict"><span class="word">([^<]+)</.exec(outerHTML);
  check("without scripts the verdict and the tables are there", Boolean(verdict) && /<table/.test(outerHTML) && !/class="zoom"/.test(outerHTML));
  await plain.shot("plain.png");
  await plain.close();

  for (const [name, settings] of Object.entries({ dark: { dark: true }, narrow: { width: 390, height: 844 }, "narrow-dark": { width: 390, height: 844, dark: true } })) {
    const page = await open(settings);
    await page.shot(`${name}.png`);
    await page.shot(`${name}-whole.png`, true);
    // On a phone innerWidth grows with what sticks out; the width that was set does not.
    const wide = await page.value(`document.documentElement.scrollWidth - ${settings.width ?? 1280}`);
    check(`${name}: nothing sticks out`, wide <= 0, `${wide} pixels`);
    await page.close();
  }
} finally {
  const gone = new Promise((done) => child.once("exit", done));
  child.kill();
  await gone;
  rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
}
console.log(failed ? `page: ${failed} failed, see ${folder}` : `page: all held; screenshots in ${folder}`);
process.exit(failed ? 1 : 0);
