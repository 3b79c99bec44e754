// Two locks over all tabs of the till: one for the journal (numbers and stock), one for sending.
//
// Without a secure context browsers have no locks. The journal stays correct even then, because
// each entry is one IndexedDB transaction; a second upload at the same time costs a call and
// changes nothing.

/** Run `work` while no other tab writes the journal. */
export function writing(work) {
  return navigator.locks ? navigator.locks.request("farmgate-till-journal", work) : work();
}

/** Run `work`; if another tab is sending, return undefined at once instead. */
export function sending(work) {
  if (!navigator.locks) return work();
  return navigator.locks.request("farmgate-till-sending", { ifAvailable: true }, (lock) =>
    lock ? work() : undefined,
  );
}
