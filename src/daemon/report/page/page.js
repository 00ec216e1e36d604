"use strict";
(() => {
  const get = (id) => document.getElementById(id);
  const nodes = new Map();       // by "id" or "through/id"
  let state = { revision: null, daemon: {}, failures: [], minutes: [], may: {}, now: 0, came: 0, minutesAt: 0 };
  let shown = 200, timer = null, opened = null, lookUntil = 0, filterText = "", filterState = "";
  const PERIOD = 2000;

  // ---- words ----------------------------------------------------------------------------------------------------
  const now = () => state.now + (Date.now() - state.came) / 1000;
  const span = (seconds) => {
    const s = Math.max(0, Math.round(seconds));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
  };
  const ago = (at) => at ? span(now() - at) : "";
  const bytes = (n) => n == null ? "" : n < 1e4 ? `${n} B` : n < 1e7 ? `${Math.round(n / 1e3)} kB` : n < 1e10 ? `${Math.round(n / 1e6)} MB` : `${Math.round(n / 1e9)} GB`;
  const time = (at) => at ? new Date(at * 1000).toLocaleString() : "";
  const key = (node) => node.through == null ? String(node.id) : `${node.through}/${node.id}`;
  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text != null) made.textContent = text;
    for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
    return made;
  };

  // ---- the list ---------------------------------------------------------------------------------------------------
  function cells(node) {
    const ping = node.last_ping ? `${ago(node.last_ping)}${node.ping_ms == null ? "" : ` (${node.ping_ms} ms)`}` : "";
    const sync = node.synced_at ? `${ago(node.synced_at)}${node.sync_lag ? `, ${node.sync_lag} rows behind` : ""}` : "";
    const wait = (node.queue || 0) + (node.unconfirmed || 0);
    return [["Kind", node.kind], ["Since", ago(node.since)], ["Link", node.link || ""], ["Pong", ping], ["Sync", sync],
      ["Waiting", wait ? String(wait) : ""], ["Running", node.running ? String(node.running) : ""],
      ["Version", node.version || ""], ["Memory", bytes(node.memory)], ["Address", node.address || ""]];
  }

  function row(node) {
    const line = element("tr");
    const head = element("th", null, { scope: "row" });
    const link = element("a", `${node.id}`, { href: `#node/${node.id}` });
    if (node.through != null) head.className = "behind";
    head.append(link);
    if (node.name) head.append(" ", element("span", node.name, { class: "name" }));
    const badge = element("td", null, {});
    badge.append(element("span", node.state, { class: `state ${node.state}` }));
    line.append(head, badge);
    for (const [label, text] of cells(node)) line.append(element("td", text, { "data-label": label, ...(label === "Address" ? { class: "far" } : {}) }));
    return line;
  }

  // Nodes with a link of their own by id, each followed by those behind it.
  function ordered() {
    const own = [], behind = new Map();
    for (const node of nodes.values()) {
      if (node.through == null) own.push(node);
      else if (!nodes.has(String(node.id))) {
        const list = behind.get(String(node.through)) || [];
        list.push(node);
        behind.set(String(node.through), list);
      }
    }
    const byId = (a, b) => String(a.id).length - String(b.id).length || (String(a.id) < String(b.id) ? -1 : 1);
    const out = [], seen = new Set();
    const walk = (node) => {
      if (seen.has(key(node))) return;
      seen.add(key(node));
      out.push(node);
      for (const next of (behind.get(String(node.id)) || []).sort(byId)) walk(next);
    };
    own.sort(byId).forEach(walk);
    return out;
  }

  function fits(node) {
    if (filterState && node.state !== filterState) return false;
    if (!filterText) return true;
    const words = [node.id, node.name, node.kind, node.address, node.version, node.link, node.state].join(" ").toLowerCase();
    return filterText.split(/\s+/).every((word) => words.includes(word));
  }

  function list() {
    const found = ordered().filter(fits);
    const focus = document.activeElement && document.activeElement.getAttribute("href");
    const body = get("rows");
    body.replaceChildren(...found.slice(0, shown).map(row));
    if (focus && focus.startsWith("#node/")) {
      const again = body.querySelector(`a[href="${CSS.escape(focus)}"]`) || [...body.querySelectorAll("a")].find((a) => a.getAttribute("href") === focus);
      if (again && document.activeElement !== again && !opened) again.focus({ preventScroll: true });
    }
    get("none").hidden = found.length > 0;
    get("none").textContent = nodes.size ? "No node fits the search." : "This daemon has no nodes.";
    get("more").hidden = found.length <= shown;
    get("more-text").textContent = `${Math.min(shown, found.length)} of ${found.length} nodes are shown.`;
  }

  // ---- the daemon -------------------------------------------------------------------------------------------------
  function head() {
    const daemon = state.daemon;
    get("title").textContent = `${daemon.name || "Stheno"}${daemon.id ? ` (node ${daemon.id})` : ""}`;
    const facts = [`version ${daemon.version}`, `up ${ago(daemon.started_at)}`, `memory ${bytes(daemon.memory)}`,
      `database ${bytes(daemon.database_bytes)}`, `${daemon.descriptors} descriptors`];
    if (daemon.centrals && daemon.centrals.configured) facts.push(`${daemon.centrals.connected} of ${daemon.centrals.configured} centrals connected`);
    if (daemon.cluster) facts.push(`cluster ${daemon.cluster.name}: this is ${daemon.cluster.member} (${daemon.cluster.state}), active ${daemon.cluster.active} at ${daemon.cluster.active_address}, ${daemon.cluster.members.length} centrals`);
    get("facts").replaceChildren(...facts.map((fact) => element("span", fact)));
    const states = { up: 0, down: 0, never: 0 };
    for (const node of ordered()) states[node.state] = (states[node.state] || 0) + 1;
    for (const name of ["up", "down", "never"]) get(`count-${name}`).textContent = states[name];
    for (const name of ["running", "waiting", "open_tokens"]) get(`count-${name}`).textContent = daemon[name] ?? 0;
    document.title = `${states.down ? `(${states.down} down) ` : ""}${daemon.name || "Stheno"}`;
    const text = daemon.stores === false ? "The history takes no rows: commands are refused. Look at the disk and at the log of the daemon." : "";
    get("trouble").hidden = !text;
    get("trouble").textContent = text;
  }

  function failures() {
    const body = get("failures");
    body.replaceChildren(...state.failures.map((failure) => {
      const line = element("tr");
      const node = element("td", null, { "data-label": "Node" });
      if (failure.node == null) node.textContent = "here";
      else node.append(element("a", String(failure.node), { href: `#node/${failure.node}` }));
      line.append(element("td", time(failure.at), { "data-label": "Time" }), node,
        element("td", failure.message, { class: "long" }), element("td", failure.token.slice(0, 16), { "data-label": "Token", title: failure.token }));
      return line;
    }));
    get("no-failures").hidden = state.failures.length > 0;
    get("failures-box").hidden = state.failures.length === 0;
  }

  function graph() {
    const passed = Math.max(0, Math.floor((now() - state.minutesAt) / 60));
    const minutes = [...state.minutes, ...Array(Math.min(60, passed)).fill([0, 0])].slice(-60);
    while (minutes.length < 60) minutes.unshift([0, 0]);
    const top = Math.max(1, ...minutes.map(([ok, failed]) => ok + failed));
    const svg = get("graph"), space = "http://www.w3.org/2000/svg";
    const bar = (x, y, height, name) => {
      const made = document.createElementNS(space, "rect");
      for (const [k, v] of [["x", x], ["y", y], ["width", 8], ["height", height], ["class", name]]) made.setAttribute(k, v);
      return made;
    };
    const bars = [bar(0, 71, 1, "axis")];
    bars[0].setAttribute("width", 600);
    bars[0].setAttribute("class", "ok");
    minutes.forEach(([ok, failed], index) => {
      const a = ok / top * 66, b = failed / top * 66;
      if (ok) bars.push(bar(index * 10 + 1, 71 - a, a, "ok"));
      if (failed) bars.push(bar(index * 10 + 1, 71 - a - b, b, "failed"));
    });
    svg.replaceChildren(...bars);
    const sum = minutes.reduce(([a, b], [ok, failed]) => [a + ok, b + failed], [0, 0]);
    get("graph-text").textContent = `Requests that ended in the last hour: ${sum[0]} well, ${sum[1]} failed; at most ${top === 1 && !sum[0] && !sum[1] ? 0 : top} in a minute.`;
  }

  // ---- one node ---------------------------------------------------------------------------------------------------
  const api = (path, options = {}) => fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  const post = (path, body) => api(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

  async function answer(promise) {
    const reply = await promise;
    const said = await reply.json().catch(() => ({}));
    if (!reply.ok) throw new Error(said.message || `the daemon answers ${reply.status}`);
    return said;
  }

  const nodeOf = (id) => nodes.get(id) || [...nodes.values()].find((node) => String(node.id) === id);

  function facts() {
    const node = nodeOf(opened);
    get("node-title").textContent = node ? `Node ${opened}${node.name ? `: ${node.name}` : ""}` : `Node ${opened} is not known`;
    get("node-facts").replaceChildren();
    if (!node) return;
    const state = element("dd");
    state.append(element("span", node.state, { class: `state ${node.state}` }));
    const pairs = [["State", state], ...cells(node), ["Pings", `${node.ping_ok} answered, ${node.ping_failed} failed`]];
    if (node.through != null) pairs.push(["Behind node", String(node.through)]);
    if (node.uid) pairs.push(["Uid", String(node.uid)]);
    for (const [name, value] of pairs) {
      if (!value) continue;
      const box = element("div");
      box.append(element("dt", name), value.nodeType ? value : element("dd", value));
      get("node-facts").append(box);
    }
  }

  function say(text, isWrong = false) {
    get("said").textContent = text;
    get("said").className = isWrong ? "down" : "";
  }

  const dataOf = (row) => {
    try { return typeof row.data === "string" ? JSON.parse(row.data) : row.data; } catch { return { message: row.data }; }
  };

  async function follow(id, token) {
    const output = get("output");
    output.hidden = false;
    output.textContent = "";
    for (let turn = 0; turn < 900 && opened === id; turn += 1) {
      const said = await answer(api(`/api/nodes/${id}/log/${token}?sync_wait=1000000`)).catch((error) => ({ message: error.message }));
      const rows = Array.isArray(said.data) ? said.data : [];
      const texts = rows.map(dataOf);
      output.textContent = texts.map((data) => {
        const result = data.result || {};
        return [result.stdout, result.stderr].filter(Boolean).join("") || data.message || "";
      }).filter(Boolean).join("\n");
      const last = rows.find((row, index) => row.code === 2 || (row.code === 1 && !(texts[index].result)));
      if (last) {
        say(last.code === 2 ? "It is done." : `It failed: ${dataOf(last).message || ""}`, last.code !== 2);
        running();
        return;
      }
      await new Promise((done) => { setTimeout(done, 1000); });
    }
  }

  async function act(text, work) {
    say(text);
    lookUntil = Date.now() + 30000;
    for (const button of document.querySelectorAll("#actions button")) button.disabled = true;
    try { await work(); } catch (error) { say(error.message, true); }
    for (const button of document.querySelectorAll("#actions button")) button.disabled = false;
    refresh();
  }

  async function running() {
    const id = opened;
    if (!id) return;
    const reply = await api(`/api/nodes/${id}/running`).catch(() => null);
    const box = get("running-box");
    if (!reply || !reply.ok || opened !== id) { box.hidden = true; return; }
    const said = await reply.json().catch(() => ({}));
    const all = Array.isArray(said) ? said : said.running || said.data || [];
    box.hidden = false;
    if (all.length) lookUntil = Math.max(lookUntil, Date.now() + 10000);
    get("no-running").hidden = all.length > 0;
    get("running-table").hidden = all.length === 0;
    get("running").replaceChildren(...all.map((item) => {
      const line = element("tr");
      const stop = element("td");
      if (state.may.central) {
        const button = element("button", "Cancel", { type: "button", "aria-label": `Cancel ${item.command || item.action || item.token}` });
        button.addEventListener("click", () => act("Cancelling …", async () => {
          await answer(api(`/api/nodes/${id}/running/${item.token}`, { method: "DELETE" }));
          say("It is cancelled.");
          await running();
        }));
        stop.append(button);
      }
      const started = item.since || item.started_at || item.started;
      line.append(element("td", item.command || item.action || "", { class: "long" }), element("td", started ? ago(started) : "", { "data-label": "For" }),
        element("td", String(item.token).slice(0, 16), { "data-label": "Token", title: item.token }), stop);
      return line;
    }));
  }

  async function history() {
    const id = opened;
    if (!id) return;
    const form = new FormData(get("history-form"));
    const query = new URLSearchParams({ node: id, limit: "100" });
    for (const name of ["token", "code", "grep"]) if (form.get(name)) query.set(name, form.get(name));
    if (form.get("hours")) query.set("since", String(Math.floor(now() - Number(form.get("hours")) * 3600)));
    try {
      const said = await answer(api(`/api/log?${query}`));
      if (opened !== id) return;
      const rows = (said.data || []).slice().reverse();
      get("history").replaceChildren(...rows.map((row) => {
        const data = dataOf(row) || {};
        const result = data.result ? [data.command, data.result.stdout, data.result.stderr].filter(Boolean).join(" — ") : "";
        const line = element("tr");
        line.append(element("td", time(Number(row.etime)), { "data-label": "Time" }), element("td", String(row.code), { "data-label": "Code" }),
          element("td", (result || data.message || JSON.stringify(data)).slice(0, 400), { class: "long" }),
          element("td", String(row.token || "").slice(0, 16), { "data-label": "Token", title: row.token || "" }));
        return line;
      }));
      get("history-table").hidden = rows.length === 0;
      get("no-history").hidden = rows.length > 0;
      get("no-history").textContent = "No row fits the search.";
    } catch (error) {
      get("history-table").hidden = true;
      get("no-history").hidden = false;
      get("no-history").textContent = error.message;
    }
  }

  function open() {
    const found = /^#node\/(\d+)$/.exec(location.hash);
    const before = opened;
    opened = found ? found[1] : null;
    get("list").hidden = opened !== null;
    get("node").hidden = opened === null;
    if (opened && opened !== before) {
      say("");
      get("output").hidden = true;
      facts();
      get("node-title").focus();
      running();
      history();
    } else if (!opened && before) {
      list();
      const link = [...document.querySelectorAll("#rows a")].find((a) => a.getAttribute("href") === `#node/${before}`);
      if (link) link.focus();
    }
    rights();
  }

  function rights() {
    for (const part of document.querySelectorAll("[data-may]")) part.hidden = !state.may[part.dataset.may];
  }

  // ---- updates ----------------------------------------------------------------------------------------------------
  function take(status) {
    if (status.whole) nodes.clear();
    for (const id of status.removed || []) {
      nodes.delete(String(id));
      for (const name of [...nodes.keys()]) if (name.startsWith(`${id}/`)) nodes.delete(name);
    }
    if (!status.whole) {
      // A node that has changed brings all those behind it.
      const drop = (id) => {
        for (const [name, node] of [...nodes]) {
          if (node.through != null && String(node.through) === id) { nodes.delete(name); drop(String(node.id)); }
        }
      };
      for (const node of status.nodes) if (node.through == null) drop(String(node.id));
    }
    for (const node of status.nodes) nodes.set(key(node), node);
    state = { ...state, revision: status.revision, daemon: status.daemon, may: status.may, now: status.now, came: Date.now() };
    if (status.failures) state.failures = status.failures;
    if (status.minutes) { state.minutes = status.minutes; state.minutesAt = status.now; }
    if (status.failures) failures();
    rights();
  }

  function draw() {
    head();
    graph();
    if (opened) facts(); else list();
  }

  async function refresh() {
    clearTimeout(timer);
    try {
      const since = state.revision ? `?since=${encodeURIComponent(state.revision)}` : "";
      const headers = state.revision ? { "If-None-Match": `"${state.revision}"` } : {};
      const reply = await api(`/api/status${since}`, { headers });
      if (reply.status === 200) take(await reply.json());
      else if (reply.status !== 304) throw new Error(reply.status === 403 || reply.status === 401 ? "you may not see this: the right 'read' is needed" : `the daemon answers ${reply.status}`);
      get("lost").hidden = true;
      draw();
    } catch (error) {
      get("lost").hidden = false;
      get("lost").textContent = `The daemon does not answer: ${error.message}. What is shown is ${span((Date.now() - state.came) / 1000)} old.`;
    }
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(refresh, PERIOD);
  }

  // ---- the keyboard and the forms -----------------------------------------------------------------------------------
  get("search").addEventListener("input", (event) => { filterText = event.target.value.trim().toLowerCase(); shown = 200; list(); });
  get("filter").addEventListener("change", (event) => { filterState = event.target.value; shown = 200; list(); });
  get("more-button").addEventListener("click", () => { shown += 200; list(); });
  get("find").addEventListener("submit", (event) => event.preventDefault());
  get("history-form").addEventListener("submit", (event) => { event.preventDefault(); history(); });
  get("ping").addEventListener("click", () => act("Pinging …", async () => {
    const said = await answer(api(`/api/nodes/${opened}/internal/ping?log_wait=10000000&sync_wait=0`));
    const row = (said.data || []).find((row) => row.code === 1 || row.code === 2);
    if (!row) throw new Error("The node has not answered within 10 s.");
    say(row.code === 2 ? "The node answers." : dataOf(row).message, row.code !== 2);
  }));
  get("sync").addEventListener("click", () => act("Reading the history of the node …", async () => {
    await answer(api(`/api/nodes/${opened}/log/sync?sync_wait=5000000`));
    say("The history of the node was read.");
    history();
  }));
  get("command-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const line = get("command").value.trim();
    if (!line) return;
    act("Sending the command …", async () => {
      const said = await answer(post(`/api/nodes/${opened}/core/action/command`, [{ command: line }]));
      say("The command runs.");
      follow(opened, said.token);
      running();
    });
  });
  addEventListener("hashchange", open);
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing && !opened) { event.preventDefault(); get("search").focus(); }
    if (event.key === "Escape" && opened) location.hash = "";
    else if (event.key === "Escape" && document.activeElement === get("search")) { get("search").value = ""; filterText = ""; list(); }
  });
  document.addEventListener("visibilitychange", () => { if (document.hidden) clearTimeout(timer); else refresh(); });
  // Each look leaves a row in the history of the node: only while something runs or was just started.
  setInterval(() => { if (opened && !document.hidden && Date.now() < lookUntil) running(); }, 3000);

  for (const part of document.querySelectorAll(".scripted")) part.hidden = false;
  for (const part of document.querySelectorAll(".plain")) part.hidden = true;
  open();
  refresh();
})();
