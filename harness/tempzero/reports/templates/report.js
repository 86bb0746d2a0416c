"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const list = byId("prompt-list");
  const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

  // A link to a prompt opens it.
  const arrive = () => {
    const aim = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
    if (!aim) return;
    for (let e = aim; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    if (aim.hidden) aim.hidden = false;
    aim.scrollIntoView();
  };
  addEventListener("hashchange", arrive);

  if (list) {
    const prompts = [...list.children];
    const texts = new Map();
    const textOf = (p) => {
      if (!texts.has(p)) texts.set(p, p.textContent.toLowerCase());
      return texts.get(p);
    };
    const [find, family, which, order, found] = ["find", "family", "which", "order", "found"].map(byId);
    const chosen = (p) => {
      if (family.value && p.dataset.family !== family.value) return false;
      if (which.value === "differs" && !("differs" in p.dataset)) return false;
      if (/^\d/.test(which.value)) {
        const wanted = which.options[which.selectedIndex].dataset.who;
        const mark = [...p.querySelectorAll(".mark")].find((m) => m.dataset.who === wanted);
        if (!mark || mark.classList.contains("same")) return false;
      }
      return !find.value || textOf(p).includes(find.value.toLowerCase());
    };
    const filter = () => {
      for (const p of prompts) p.hidden = !chosen(p);
      const shown = prompts.filter((p) => !p.hidden).length;
      found.textContent = `${shown} of ${prompts.length} prompts`;
    };
    const sort = () => {
      const key = order.value;
      const sorted = key
        ? [...prompts].sort((a, b) => (a.dataset[key] < b.dataset[key] ? -1 : a.dataset[key] > b.dataset[key] ? 1 : 0))
        : prompts;
      list.append(...sorted);
    };
    let waiting;
    find.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(filter, 120);
    });
    family.addEventListener("change", filter);
    which.addEventListener("change", filter);
    order.addEventListener("change", sort);
    byId("prompt-tools").hidden = false;
    filter();

    // The whole text of an answer: what it shares with A and only A shows is taken from there.
    const wholeText = (pre) => {
      const first = [...pre.closest(".prompt").querySelectorAll("pre.read")].find((p) => p.dataset.part === pre.dataset.part);
      const base = pre === first || !pre.querySelector(".gap") ? [] : [...wholeText(first)];
      const read = (node) => {
        if (node.nodeType === Node.TEXT_NODE) return node.data;
        if (node.tagName === "DEL") return "";
        if (node.className === "gap") {
          const start = Number(node.dataset.start);
          return base.slice(start, start + Number(node.dataset.skipped)).join("");
        }
        return [...node.childNodes].map(read).join("");
      };
      return read(pre);
    };
    const copy = async (text, button) => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not allowed here";
      }
      setTimeout(() => (button.textContent = "Copy"), 1500);
    };
    list.addEventListener("toggle", (event) => {
      const prompt = event.target;
      if (!prompt.open || !prompt.classList.contains("prompt") || prompt.dataset.ready) return;
      prompt.dataset.ready = "1";
      for (const answer of prompt.querySelectorAll(".answer")) {
        const button = make("button", "Copy");
        button.type = "button";
        button.setAttribute("aria-label", `Copy answer ${answer.querySelector(".letter").textContent}`);
        button.addEventListener("click", () => {
          const parts = [...answer.querySelectorAll("pre.read")].map(wholeText);
          copy(parts.join("\n\n"), button);
        });
        answer.querySelector(".who").append(" ", button);
      }
    }, true);
  }

  for (const strip of document.querySelectorAll("svg.strip")) {
    strip.dataset.live = "1";
    strip.addEventListener("click", (event) => {
      const to = event.target.dataset.to;
      if (to) location.hash = `#${to}`;
    });
  }

  // A click on a heading sorts its table by that column, again the other way round.
  const value = (row, column) => {
    const text = row.cells[column] ? row.cells[column].textContent.trim() : "";
    const number = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(number) ? text : number;
  };
  for (const table of document.querySelectorAll("table:not(.lean)")) {
    if (table.querySelector("[rowspan]")) continue;
    const body = table.tBodies[0];
    if (!body || body.rows.length < 3) continue;
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = make("button", heading.textContent);
      button.type = "button";
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = heading.getAttribute("aria-sort") !== "ascending";
        for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", up ? "ascending" : "descending");
        const compare = (a, b) => {
          const [x, y] = [value(a, column), value(b, column)];
          const less = typeof x === typeof y ? x < y : typeof x === "number";
          return x === y ? 0 : less === up ? -1 : 1;
        };
        body.append(...[...body.rows].sort(compare));
      });
    });
  }

  arrive();
})();
