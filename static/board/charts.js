// Draws [data-chart] elements with uPlot from the JSON at data-src: one pipeline's price with its gaps, or the sources
// of a pair. Follows the theme and the width, is read again while it is looked at, and answers to arrow keys.
(() => {
  "use strict";

  const HEIGHT = 320;
  const REFRESH = { "1h": 5000, "6h": 15000, "24h": 60000, "7d": 300000 };
  const PALETTE = ["#6366f1", "#0ea5e9", "#10b981", "#d97706", "#e11d48", "#8b5cf6", "#14b8a6", "#84a30f", "#f97316",
    "#ec4899", "#64748b", "#a16207"];

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = (value) => (value === null || value === undefined ? "-" : value.toLocaleString(undefined, { maximumSignificantDigits: 10 }));
  const moment = (seconds) => {
    const at = new Date(seconds * 1000);
    return `${window.marketmonTimes.words(at, "full")} (${window.marketmonTimes.utc(at)})`;
  };

  // --- what is drawn: columns and series for each kind -----------------------------------------------------------

  function priceLines(body) {
    const points = (size, shown) => ({ show: shown, size });
    return {
      data: [body.at, body.bid, body.ask, body.price, body.filled],
      series: [
        { label: "bid", stroke: colour("--c-side"), width: 1, points: points(3, false) },
        { label: "ask", stroke: colour("--c-side"), width: 1, dash: [4, 3], points: points(3, false) },
        { label: "price", stroke: colour("--c-price"), width: 1.75, points: points(3, undefined) },
        { label: "backfilled", stroke: colour("--c-filled"), width: 1.75, points: points(5, true) },
      ],
      bands: [{ series: [2, 1], fill: `color-mix(in srgb, ${colour("--c-side")} 12%, transparent)` }],
    };
  }

  function pairLines(body) {
    const series = body.lines.map((line, place) => ({
      label: line.name, stroke: PALETTE[place % PALETTE.length], width: 1.5, dash: place % 2 ? [6, 3] : undefined,
      points: { size: 3 },
    }));
    return { data: [body.at, ...body.lines.map((line) => line.values)], series, bands: [] };
  }

  const KINDS = { price: priceLines, pair: pairLines };

  // Hours and minutes; the day where it begins, or once when a span holds no beginning.
  function timeLabels(plot, splits, axis, space, step) {
    const days = splits.map((at) => window.marketmonTimes.words(new Date(at * 1000), "day"));
    return splits.map((at, place) => {
      const clock = window.marketmonTimes.words(new Date(at * 1000), step < 60 ? "clock" : "hour");
      return days[place] === days[place - 1] ? clock : `${clock}\n${days[place].slice(5)}`;
    });
  }

  // --- gaps ------------------------------------------------------------------------------------------------------

  function shadeGaps(plot, gaps) {
    const { left, top, width, height } = plot.bbox;
    const context = plot.ctx;
    context.save();
    for (const gap of gaps) {
      const from = Math.max(left, plot.valToPos(gap.start, "x", true));
      const to = Math.min(left + width, plot.valToPos(gap.end, "x", true));
      if (to < left || from > left + width) continue;
      const until = gap.filled_until === null ? from : Math.min(to, plot.valToPos(gap.filled_until, "x", true));
      const filled = Math.max(0, until - from);
      context.fillStyle = colour("--c-gap-filled");
      context.fillRect(from, top, filled, height);
      context.fillStyle = colour("--c-gap");
      if (to - from > filled) context.fillRect(from + filled, top, Math.max(2, to - from - filled), height);
    }
    context.restore();
  }

  function gapAt(gaps, seconds, slack) {
    return gaps.find((gap) => seconds >= gap.start - slack && seconds <= gap.end + slack);
  }

  function gapWords(gap) {
    const end = gap.open ? "now (open)" : moment(gap.end);
    return `Gap, ${gap.cause}: ${gap.words}. From ${moment(gap.start)} to ${end}.`;
  }

  function makeTip(element) {
    const tip = document.createElement("div");
    tip.className = "mm-chart-tip";
    tip.hidden = true;
    element.append(tip);
    return tip;
  }

  function placeTip(tip, plot, words) {
    tip.hidden = !words;
    if (!words) return;
    tip.textContent = words;
    const left = plot.over.offsetLeft + plot.cursor.left;
    const room = plot.root.clientWidth - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(room, left + 12))}px`;
    tip.style.top = `${plot.over.offsetTop + 8}px`;
  }

  // --- one chart -------------------------------------------------------------------------------------------------

  class Chart {
    constructor(element) {
      this.element = element;
      this.box = element.closest(".mm-chart-box");
      this.said = this.box.querySelector(".mm-chart-said");
      this.span = element.dataset.span;
      this.plot = null;
      this.body = null;
      element.tabIndex = 0;
      element.setAttribute("role", "group");
      this.listen();
      this.load();
    }

    listen() {
      this.box.querySelectorAll("button[data-span]").forEach((button) => {
        button.addEventListener("click", () => this.choose(button));
      });
      this.element.addEventListener("keydown", (event) => this.step(event));
      new ResizeObserver(() => this.plot && this.plot.setSize({ width: this.width(), height: HEIGHT })).observe(this.box);
      new MutationObserver(() => this.body && this.draw()).observe(document.documentElement, { attributeFilter: ["class"] });
      document.addEventListener("visibilitychange", () => document.hidden || this.load());
    }

    width() {
      return Math.max(200, this.box.clientWidth);
    }

    choose(button) {
      this.span = button.dataset.span;
      this.box.querySelectorAll("button[data-span]").forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
      this.load();
    }

    async load() {
      clearTimeout(this.timer);
      const asked = this.span;
      try {
        const answer = await fetch(`${this.element.dataset.src}?span=${asked}`, { credentials: "same-origin" });
        if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
        const body = await answer.json();
        if (asked !== this.span) return;
        this.body = body;
        this.draw();
      } catch (error) {
        this.say(`The chart could not be read: ${error.message}.`);
      }
      clearTimeout(this.timer);
      this.timer = setTimeout(() => document.hidden || this.load(), REFRESH[this.span] || 60000);
    }

    say(words) {
      if (this.said.textContent !== words) this.said.textContent = words;
    }

    draw() {
      const body = this.body;
      const { data, series, bands } = KINDS[this.element.dataset.chart](body);
      this.gaps = body.gaps || [];
      if (this.plot) this.plot.destroy();
      if (this.tip) this.tip.remove();
      this.plot = new uPlot(this.options(body, series, bands), data, this.element);
      this.tip = makeTip(this.element);
      const gaps = this.gaps.length;
      const shaded = this.element.dataset.chart === "price" ? ` ${gaps} gap${gaps === 1 ? "" : "s"} shaded.` : "";
      this.say(data[0].length ? `${data[0].length} points.${shaded}` : `No row in this time.${shaded}`);
    }

    options(body, series, bands) {
      const axis = {
        stroke: colour("--c-axis"),
        grid: { stroke: colour("--c-grid"), width: 1 },
        ticks: { stroke: colour("--c-grid"), width: 1 },
      };
      const size = (_, values) => Math.max(48, ...(values || []).map((value) => String(value).length * 7.5 + 14));
      return {
        width: this.width(),
        height: HEIGHT,
        scales: { x: { time: true, range: () => [body.start, body.end] } },
        axes: [{ ...axis, values: timeLabels, space: 64 }, { ...axis, size }],
        series: [
          { label: "time", value: (_, at) => (at === null ? "-" : moment(at)) },
          ...series.map((each) => ({ spanGaps: false, value: (_, value) => number(value), ...each })),
        ],
        bands,
        cursor: { drag: { x: false, y: false } },
        hooks: {
          drawClear: [(plot) => shadeGaps(plot, this.gaps)],
          setCursor: [(plot) => this.point(plot)],
        },
      };
    }

    point(plot) {
      if (!this.tip) return;
      const { left } = plot.cursor;
      if (left === null || left === undefined || left < 0) return placeTip(this.tip, plot, "");
      const slack = Math.abs(plot.posToVal(3, "x") - plot.posToVal(0, "x")); // a short gap is as thin as a line
      const gap = gapAt(this.gaps, plot.posToVal(left, "x"), slack);
      placeTip(this.tip, plot, gap ? gapWords(gap) : "");
    }

    step(event) {
      const moves = { ArrowLeft: -1, ArrowRight: 1 };
      if (!this.plot || !(event.key in moves)) return;
      event.preventDefault();
      const times = this.plot.data[0];
      const last = times.length - 1;
      const from = this.plot.cursor.idx ?? (moves[event.key] > 0 ? -1 : last + 1);
      const place = Math.max(0, Math.min(last, from + moves[event.key] * (event.shiftKey ? 10 : 1)));
      if (last < 0) return;
      this.plot.setCursor({ left: this.plot.valToPos(times[place], "x"), top: 10 });
      this.say(this.words(place));
    }

    words(place) {
      const at = this.plot.data[0][place];
      const values = this.plot.series.slice(1)
        .map((each, column) => [each.label, this.plot.data[column + 1][place]])
        .filter(([, value]) => value !== null && value !== undefined)
        .map(([label, value]) => `${label} ${number(value)}`);
      const gap = gapAt(this.gaps, at, 0);
      return `${moment(at)}: ${values.join(", ") || "nothing stored"}.${gap ? ` ${gapWords(gap)}` : ""}`;
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-chart]").forEach((element) => new Chart(element));
  });
})();
