'use strict';

const { EVENTS } = require('../events.js');
const { content, plainError, refusal } = require('./answer.js');

/** Milliseconds of silence after which a sign of life is sent: what is in between may close a connection that is quiet. */
const HEARTBEAT = 15_000;
/** Messages that wait for one who reads slowly; progress and log lines beyond half of it are left out. */
const MOST_WAITING = 1000;
const MOST_READERS = 100;

/** The plugin's events for any number of readers, as server-sent events. It listens only while somebody reads. */
class EventStream {
  #plugin;
  #readers = new Set();
  #listeners;
  #heartbeat;

  constructor(plugin) {
    this.#plugin = plugin;
    this.#listeners = EVENTS.map((name) => [name, (payload) => this.#tell(name, payload)]);
  }

  /** Answers a request with the events from now on, until its signal or the reader ends it. */
  open({ method, signal }) {
    // Hono drops such an answer's body, and nobody would ever end the stream.
    if (method === 'HEAD') return answer(null);
    if (this.#readers.size >= MOST_READERS) {
      return refusal(503, 'TOO_MANY_READERS', `${MOST_READERS} read already`);
    }
    let reader;
    const body = new ReadableStream(
      {
        start: (controller) => {
          reader = controller;
          this.#add(reader);
          reader.enqueue(encoder.encode(': connected\n\n'));
          signal?.addEventListener('abort', () => this.#remove(reader), { once: true });
        },
        cancel: () => this.#remove(reader),
      },
      new CountQueuingStrategy({ highWaterMark: MOST_WAITING }),
    );
    return answer(body);
  }

  #add(reader) {
    if (this.#readers.size === 0) {
      for (const [name, listener] of this.#listeners) this.#plugin.on(name, listener);
      this.#heartbeat = setInterval(() => this.#send(': alive\n\n'), HEARTBEAT);
      this.#heartbeat.unref?.();
    }
    this.#readers.add(reader);
  }

  #remove(reader) {
    if (!this.#readers.delete(reader)) return;
    try {
      reader.close();
    } catch {
      // The reader closed it.
    }
    if (this.#readers.size > 0) return;
    clearInterval(this.#heartbeat);
    for (const [name, listener] of this.#listeners) this.#plugin.off(name, listener);
  }

  #tell(name, payload) {
    const value = name === 'syncError' ? plainError(payload) : payload;
    const spare = name === 'progress' || name === 'log' ? MOST_WAITING / 2 : 0;
    this.#send(`event: ${name}\ndata: ${JSON.stringify(value)}\n\n`, spare);
  }

  /** Sends to all who have more than `spare` messages of room left; who has none at all is let go. */
  #send(text, spare = 0) {
    const bytes = encoder.encode(text);
    for (const reader of [...this.#readers]) {
      if (reader.desiredSize <= 0) this.#remove(reader);
      else if (reader.desiredSize > spare) reader.enqueue(bytes);
    }
  }
}

const answer = (body) => content(body, 'text/event-stream; charset=utf-8', { 'x-accel-buffering': 'no' });

const encoder = new TextEncoder();

module.exports = { EventStream };
