// Two locks over all tabs of the till: one for the journal (numbers and stock), one for sending.
//
// Without a secure context browsers have no locks. The journal stays right even then, since each
// entry is one IndexedDB transaction; sending twice at once costs a call and changes nothing.

/** Run `work` while no other tab writes the journal. */
export function writing(work) {
  return navigator.locks ? navigator.locks.request("farmgate-till-journal", work) : work();
}

/** Run `work` unless another tab is sending; then return undefined at once. */
export function sending(work) {
  if (!navigator.locks) return work();
  return navigator.locks.request("farmgate-till-sending", { ifAvailable: true }, (lock) =>
    lock ? work() : undefined,
  );
}
