"""Draw memory over a training step as one HTML file; the cursor shows the layer, and nothing is loaded."""

import json

from markupsafe import escape

from segcli.report.memory import size
from segcli.vram.results import Forecast, Timeline

__all__ = ["timeline_page"]

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>TITLE</title>
<style>
body { font: 14px system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff; }
h1 { font-size: 1.1rem; font-weight: 600; }
canvas { width: 100%; height: 60vh; border: 1px solid #ccc; cursor: crosshair; }
#message { min-height: 4.5em; white-space: pre; font-family: ui-monospace, monospace; }
#legend span { margin-right: 1.2em; }
#legend i { display: inline-block; width: .9em; height: .9em; margin-right: .4em; }
</style>
<h1>TITLE</h1>
<p>Bytes in tensors after each allocation and release, over two training steps and a validation. The grey line is the
memory that the allocator reserves. Point at the curve for details; drag to zoom in, double-click to zoom out.</p>
<div id="legend"></div>
<canvas id="plot"></canvas>
<div id="message"></div>
<script id="data" type="application/json">DATA</script>
<script>
const data = JSON.parse(document.getElementById("data").textContent);
const colours = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#332288", "#ddaa33"];
const plot = document.getElementById("plot"), message = document.getElementById("message"), pen = plot.getContext("2d");
const units = [["GiB", 2**30, 2], ["MiB", 2**20, 1], ["KiB", 2**10, 1], ["B", 1, 0]];
function size(n) {
  const [unit, least, digits] = units.find(([, least]) => n >= least) || ["B", 1, 0];
  return (n / least).toFixed(digits) + " " + unit;
}
let first = 0, last = data.used.length - 1, begun = null, here = null;
data.stages.forEach((name, i) => {
  const item = document.createElement("span"), mark = document.createElement("i");
  mark.style.background = colours[i % colours.length];
  item.append(mark, name);
  document.getElementById("legend").append(item);
});
function at(x) {
  return Math.max(first, Math.min(last, Math.round(first + (x / plot.clientWidth) * (last - first))));
}
function draw() {
  const scale = window.devicePixelRatio || 1, width = plot.clientWidth, height = plot.clientHeight;
  plot.width = width * scale; plot.height = height * scale; pen.scale(scale, scale);
  const top = Math.max(...data.reserved.slice(first, last + 1)) * 1.05, step = width / Math.max(last - first, 1);
  const y = n => height - (n / top) * height;
  for (let i = first; i <= last; i++) {
    pen.fillStyle = colours[data.stage[i] % colours.length];
    pen.fillRect((i - first) * step, y(data.used[i]), Math.max(step, 1), height - y(data.used[i]));
  }
  pen.font = "12px system-ui, sans-serif";
  // lines at a power of two of bytes, four to eight of them
  const apart = 2 ** (Math.floor(Math.log2(top)) - 2);
  for (let n = apart; n < top; n += apart) {
    pen.fillStyle = "#0002"; pen.fillRect(0, y(n), width, 1);
    pen.fillStyle = "#222"; pen.fillText(size(n), 4, y(n) - 3);
  }
  pen.strokeStyle = "#777"; pen.beginPath();
  for (let i = first; i <= last; i++) pen.lineTo((i - first) * step, y(data.reserved[i]));
  pen.stroke();
  if (here !== null) {
    pen.strokeStyle = "#000"; pen.beginPath();
    pen.moveTo((here - first) * step, 0); pen.lineTo((here - first) * step, height); pen.stroke();
  }
}
plot.addEventListener("mousemove", event => {
  here = at(event.offsetX);
  const grown = data.change[here];
  message.textContent = data.stages[data.stage[here]] + "  " + (data.layers[data.layer[here]] || "-") + "\\n"
    + size(data.used[here]) + " in tensors, " + size(data.reserved[here]) + " reserved\\n"
    + (grown >= 0 ? "+" : "-") + size(Math.abs(grown)) + " " + data.kinds[data.kind[here]];
  draw();
});
plot.addEventListener("mousedown", event => { begun = at(event.offsetX); });
plot.addEventListener("mouseup", event => {
  const end = at(event.offsetX);
  if (begun !== null && Math.abs(end - begun) > 4) [first, last] = [Math.min(begun, end), Math.max(begun, end)];
  begun = null; draw();
});
plot.addEventListener("dblclick", () => { first = 0; last = data.used.length - 1; draw(); });
window.addEventListener("resize", draw);
draw();
</script>
</html>
"""


def timeline_page(forecast: Forecast, timeline: Timeline) -> str:
    """Build the page.

    Args:
        forecast: Forecast for the title.
        timeline: Values of the curve.
    """
    title = (
        f"{forecast.run}: {forecast.model}, batch {forecast.batch_size}, {forecast.precision}, "
        f"peak {size(forecast.peak)}"
    )
    # `</script>` in a name must not end the data
    data = json.dumps(timeline.as_dict(), separators=(",", ":")).replace("<", "\\u003c")
    return PAGE.replace("TITLE", escape(title)).replace("DATA", data)
