// One key per verdict: on the open chip, which then gives way to the next one, or on the selected chips.
(() => {
  const OPERATORS = window.__foo__;
  const RULINGS = { k: "keep", d: "reject", u: "unsure" };
  const UNDO = "b";
  const TYPING = "input, textarea, select, [contenteditable=true]";
  const MODAL = '[data-cy="modal"]';

  const run = (name, params, callback) =>
    OPERATORS.executeOperator(`@sarcurate/curate/${name}`, params, { callback });

  const next = () => {
    const event = { key: "ArrowRight", code: "ArrowRight", keyCode: 39, bubbles: true };
    document.dispatchEvent(new KeyboardEvent("keydown", event));
  };

  const onKey = (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat;
    if (!plain || event.target.closest?.(TYPING)) return;
    const key = event.key.toLowerCase();
    if (key === UNDO) {
      run("undo", {});
    } else if (key in RULINGS) {
      const isOpen = Boolean(document.querySelector(MODAL));
      // Not before the answer: the operator reads which chip is open when it runs.
      run("judge", { verdict: RULINGS[key], open: isOpen }, isOpen ? next : undefined);
    }
  };

  document.addEventListener("keydown", onKey);
})();
