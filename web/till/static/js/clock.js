// The time at the centre, as far as the device can tell.
//
// The device's clock may be wrong, or somebody may turn it back to extend a lease. So the till
// keeps the clock's error at the last contact and the latest moment that it has seen. If the clock
// runs backwards, selling stops until the till reaches the centre again.

/** Milliseconds by which a network may set the device's clock back without consequence. */
const TOLERANCE = 2 * 60 * 1000;
/** China has one time zone, without daylight saving time. */
const SHANGHAI = 8 * 3600 * 1000;

/** The clock after a contact; `sent` and `received` are by the device's clock, in ms. */
export function fromContact(serverTime, sent, received) {
  const middle = Math.round((sent + received) / 2);
  return { offset: Date.parse(serverTime) - middle, high: received, contact: received };
}

/** Whether the device's clock was turned back since the latest moment it has seen. */
export function ranBackwards(clock, now) {
  return now + TOLERANCE < clock.high;
}

/** Record the present moment; returns the clock to store. */
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
