// One key per verdict: on the open chip, which then gives way to the next one, or on the selected chips.
(() => {
  const OPERATORS = window.__foo__;
  const RULINGS = { k: "keep", d: "reject", u: "unsure" };
  const UNDO = "b";
  const TYPING = "input, textarea, select, [contenteditable=true]";
  const MODAL = '[data-cy="modal"]';

  const run = (name, params) => OPERATORS.executeOperator(`@sarcurate/curate/${name}`, params);

  const next = () => {
    const event = { key: "ArrowRight", code: "ArrowRight", keyCode: 39, bubbles: true };
    document.dispatchEvent(new KeyboardEvent("keydown", event));
  };

  const onKey = async (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat;
    if (!plain || event.target.closest?.(TYPING)) return;
    const key = event.key.toLowerCase();
    if (key === UNDO) {
      await run("undo", {});
    } else if (key in RULINGS) {
      const isOpen = Boolean(document.querySelector(MODAL));
      await run("judge", { verdict: RULINGS[key], open: isOpen });
      if (isOpen) next();
    }
  };

  document.addEventListener("keydown", onKey);
})();
