// The device's own database: a thin wrapper round IndexedDB.
//
// `write` stores everything that the till must not forget. Its promise resolves only when the data
// are on disk (`durability: "strict"`). Without this option Chromium answers seconds before it
// writes, and a power cut in between would lose a sale whose receipt the buyer already has.

const NAME = "farmgate-till";
const VERSION = 1;

let database = null;
let lost = () => {};

/** Call `then` when the database is closed: by a "newer" page, or "closed" by the browser. */
export function whenLost(then) {
  lost = then;
}

/** Open the database. Throws where the browser refuses to store anything. */
export async function open() {
  const request = indexedDB.open(NAME, VERSION);
  request.onupgradeneeded = () => {
    const made = request.result;
    // Values with names: shift, clock, contact, language, trouble, attention, parcel_tries.
    made.createObjectStore("meta");
    // Reserved room for the entries that must always fit; see storage.js.
    made.createObjectStore("reserve");
    // One row per enrolment, with the secret and the last number used; one is `current`.
    made.createObjectStore("keys", { keyPath: "key_id" });
    const journal = made.createObjectStore("journal", { keyPath: ["key_id", "number"] });
    // Only rows that the centre does not have yet have `unsent`: the id of their key.
    journal.createIndex("unsent", ["unsent", "number"]);
    journal.createIndex("day", "day");
    journal.createIndex("shift", ["key_id", "shift"]);
    // A second click, or a second tab, has the same draft: it is written once.
    journal.createIndex("draft", "draft", { unique: true });
    made.createObjectStore("allotments", { keyPath: "allotment_id" });
    made.createObjectStore("returns", { keyPath: "return_id" });
    made.createObjectStore("variants", { keyPath: "variant_id" });
    made.createObjectStore("parcels", { keyPath: "shipment_id" });
  };
  database = await new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => lost("newer");
  });
  database.onversionchange = () => {
    // Another tab has a newer till: it must not wait for this one for ever.
    database.close();
    lost("newer");
  };
  database.onclose = () => lost("closed");
}

/**
 * Run `work(tx)` in one durable transaction over `stores`; returns its result once it is on disk.
 *
 * If the device has no room, the whole transaction is undone and the reserve is deleted: later
 * writes then fit.
 */
export async function write(stores, work) {
  try {
    return await transaction(stores, "readwrite", work);
  } catch (error) {
    if (error.name === "QuotaExceededError") {
      await transaction(["reserve"], "readwrite", (tx) => tx.clear("reserve"));
    }
    throw error;
  }
}

/** Run `work(tx)` in one reading transaction over `stores`. */
export function read(stores, work) {
  return transaction(stores, "readonly", work);
}

function transaction(stores, mode, work) {
  return new Promise((resolve, reject) => {
    const raw = database.transaction(stores, mode, { durability: "strict" });
    let result;
    let failure = null;
    raw.oncomplete = () => resolve(result);
    raw.onabort = () => reject(failure ?? raw.error ?? new Error("The transaction was undone."));
    work(new Transaction(raw)).then(
      (value) => {
        result = value;
      },
      (error) => {
        failure = error;
        // The browser itself may have undone it already.
        if (raw.error === null) raw.abort();
      },
    );
  });
}

class Transaction {
  constructor(raw) {
    this.raw = raw;
  }

  get(store, key) {
    return answer(this.raw.objectStore(store).get(key));
  }

  all(store) {
    return answer(this.raw.objectStore(store).getAll());
  }

  /** Rows whose index has this value; at most `most`. */
  by(store, index, value, most) {
    return answer(this.raw.objectStore(store).index(index).getAll(value, most));
  }

  /** Rows whose keys are within a range. */
  within(store, range) {
    return answer(this.raw.objectStore(store).getAll(range));
  }

  /** How many rows there are, or how many whose index has this value. */
  count(store, index, value) {
    const rows = this.raw.objectStore(store);
    return answer(index ? rows.index(index).count(value) : rows.count());
  }

  put(store, value, key) {
    return answer(this.raw.objectStore(store).put(value, key));
  }

  delete(store, key) {
    return answer(this.raw.objectStore(store).delete(key));
  }

  clear(store) {
    return answer(this.raw.objectStore(store).clear());
  }
}

function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Delete all data: the clerk signs out. */
export function forget() {
  const stores = [...database.objectStoreNames];
  return write(stores, (tx) => Promise.all(stores.map((store) => tx.clear(store))));
}
