/** What tests make of a database behind a server of ours: answers to come, a limit of requests, and counts. */

import { setTimeout as delay } from 'node:timers/promises';

/** Cloudflare's answer to one request too many. */
const LIMITED = {
  result: null,
  success: false,
  errors: [{ code: 971, message: 'Please wait and consider throttling your request speed' }],
  messages: [],
};

export class Control {
  counts = { requests: 0, refused: 0, bytes: 0, rows: 0 };
  #faults = [];
  #limit;
  /** When the window of the limit began, how many requests it has had, and until when all are refused. */
  #window = { since: 0, requests: 0, blocked: 0 };

  /** Of these, each one is for one request: what is to happen to it, or null. */
  set faults(faults) {
    if (!Array.isArray(faults)) throw new TypeError('faults are an array');
    this.#faults = faults;
  }

  /** `{ requests, window_ms, block_ms }`, or null for none. */
  set limit(limit) {
    this.#limit = limit;
    this.#window = { since: 0, requests: 0, blocked: 0 };
  }

  /**
   * Gives the answer to a request: what `run` gives, or what is to be instead.
   *
   * @param {() => Promise<{ status: number, headers: object, body: Buffer, rows: number }>} run
   */
  async answer(run) {
    this.counts.requests++;
    const limited = this.#limit && this.#limited();
    if (limited?.status) {
      this.counts.refused++;
      return this.#counted(limited);
    }
    const fault = this.#faults.shift() ?? {};
    if (fault.delay_ms) await delay(fault.delay_ms);
    const ran = !fault.status || fault.after ? await run() : undefined;
    const answer = fault.status
      ? { status: fault.status, headers: fault.headers ?? {}, body: Buffer.from(fault.body ?? '') }
      : ran;
    return this.#counted({ ...answer, headers: { ...limited?.headers, ...answer.headers }, truncate: fault.truncate });
  }

  #counted(answer) {
    this.counts.bytes += Math.min(answer.body.length, answer.truncate ?? Number.POSITIVE_INFINITY);
    this.counts.rows += answer.rows ?? 0;
    return answer;
  }

  /** Counts a request; gives the headers for its answer, or the answer when it is one too many. */
  #limited() {
    const { requests, window_ms, block_ms } = this.#limit;
    const window = this.#window;
    const now = Date.now();
    if (now >= window.blocked && (window.blocked > 0 || now >= window.since + window_ms)) {
      Object.assign(window, { since: now, requests: 0, blocked: 0 });
    }
    if (window.blocked === 0 && ++window.requests > requests) window.blocked = now + block_ms;
    const seconds = (until) => Math.ceil((until - now) / 1000);
    if (window.blocked > 0) {
      const headers = { 'content-type': 'application/json', 'retry-after': String(seconds(window.blocked)) };
      return { status: 429, headers, body: Buffer.from(JSON.stringify(LIMITED)) };
    }
    const left = `"default";r=${requests - window.requests};t=${seconds(window.since + window_ms)}`;
    return {
      headers: { ratelimit: left, 'ratelimit-policy': `"default";q=${requests};w=${Math.ceil(window_ms / 1000)}` },
    };
  }
}
