// What time it is at the centre, as far as the device can tell.
//
// Its own clock may be wrong, or be turned back to stretch a lease. So the till keeps how far it
// was off at the last contact, and the latest moment it has seen: a clock that runs backwards
// stops selling until the centre has been reached again.

/** Milliseconds a clock may be set back by its own corrections. */
const TOLERANCE = 2 * 60 * 1000;
/** China has one time, without summer time. */
const SHANGHAI = 8 * 3600 * 1000;

/** The clock that a contact shows: `sent` and `received` by the device's clock, in ms. */
export function fromContact(serverTime, sent, received) {
  const middle = Math.round((sent + received) / 2);
  return { offset: Date.parse(serverTime) - middle, high: received, contact: received };
}

/** Whether the device's clock was turned back since the latest moment it has seen. */
export function ranBackwards(clock, now) {
  return now + TOLERANCE < clock.high;
}

/** Note the moment; returns the clock to keep. */
export function seen(clock, now) {
  return { ...clock, high: Math.max(clock.high, now) };
}

/** The centre's time, in ms. */
export function atCentre(clock, now) {
  return now + clock.offset;
}

/** The day in China: "2026-07-29". */
export function day(ms) {
  return new Date(ms + SHANGHAI).toISOString().slice(0, 10);
}

/** The time of day in China: "14:02". */
export function time(ms) {
  return new Date(ms + SHANGHAI).toISOString().slice(11, 16);
}

/** Day and time in China. */
export function moment(ms) {
  return `${day(ms)} ${time(ms)}`;
}
