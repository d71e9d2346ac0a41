/** What happens at a source under load: accounts that come, change and go, and an event for each change, as in pgbench. */

/** Accounts that are there on average. */
export const ACCOUNTS = 10_000;
/** Of a hundred operations, how many open an account, close one, and correct an event of the last ones. */
const [OPENED, CLOSED, CORRECTED] = [3, 3, 10];
/** How far back events are corrected. */
const RECENT = 5000;

/** The tables: both have a key `id` and a time `updated_at`, which the source's clock fills in. */
export const TABLES = {
  accounts: { columns: ['id', 'owner', 'balance', 'note'], deletes: 'hard' },
  events: { columns: ['id', 'account', 'amount', 'note'], deletes: 'none' },
};

/** Makes operations `{ table, row }` and `{ table, gone: id }`; the same seed makes the same ones. */
export class History {
  #state;
  #accounts = [];
  #lastAccount = 0;
  #lastEvent = 0;

  constructor(seed = 1) {
    this.#state = seed;
  }

  /** An integer below `limit`. */
  below(limit) {
    // mulberry32: a few lines, and good enough to pick rows by.
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  }

  /** The rows to begin with. */
  begin() {
    return Array.from({ length: ACCOUNTS }, () => this.#open());
  }

  /** The next operations. */
  next(count) {
    return Array.from({ length: count }, () => {
      const die = this.below(100);
      if (die < OPENED) return this.#open();
      if (die < OPENED + CLOSED && this.#accounts.length > ACCOUNTS / 2) return this.#close();
      if (die < OPENED + CLOSED + CORRECTED && this.#lastEvent > 0) {
        return this.#event(Math.max(1, this.#lastEvent - this.below(RECENT)));
      }
      return die % 2 === 0 ? this.#account(this.#accounts[this.below(this.#accounts.length)]) : this.#event();
    });
  }

  #open() {
    this.#accounts.push(++this.#lastAccount);
    return this.#account(this.#lastAccount);
  }

  #close() {
    const at = this.below(this.#accounts.length);
    const gone = this.#accounts[at];
    const last = this.#accounts.pop();
    if (at < this.#accounts.length) this.#accounts[at] = last;
    return { table: 'accounts', gone };
  }

  #account(id) {
    return { table: 'accounts', row: [id, `owner ${id}`, this.below(1_000_000), this.#note()] };
  }

  #event(id = ++this.#lastEvent) {
    const account = this.#accounts[this.below(this.#accounts.length)];
    return { table: 'events', row: [id, account, this.below(20_000) - 10_000, this.#note()] };
  }

  #note() {
    return this.below(4) === 0 ? null : `note ${this.below(1_000_000)}`;
  }
}
