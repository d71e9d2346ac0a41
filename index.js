'use strict';

const { EventEmitter } = require('node:events');
const { NativeDataSync, checkOptions } = require('./native.js');
const { invalid, kindOf, plain } = require('./plain.js');
const { mount, takesRoutes } = require('./routes/mount.js');

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'];
// The longest delay that Node's timers take: the timer is there to be referenced, not to fire.
const LONGEST_DELAY = 2 ** 31 - 1;

class DataSyncError extends Error {
  constructor(message, { code, table, cause, retryable, stats, errors, plan } = {}) {
    super(message);
    this.name = 'DataSyncError';
    this.code = code ?? 'INTERNAL';
    this.table = table ?? null;
    this.cause = cause ?? null;
    this.retryable = retryable ?? false;
    this.stats = stats ?? null;
    this.errors = errors ?? [];
    this.plan = plan ?? null;
  }
}

function toError(failure) {
  const errors = (failure.errors ?? []).map((fault) => new DataSyncError(fault.message, fault));
  return new DataSyncError(failure.message, { ...failure, errors });
}

/** Lets the stack of an error that came from native code name the line that made the call. */
function located(error, site) {
  const frames = site.stack.slice(site.stack.indexOf('\n') + 1);
  error.stack = `${error.name}: ${error.message}\n${frames}`;
  return error;
}

function siteOf(entry) {
  const site = {};
  Error.captureStackTrace(site, entry);
  return site;
}

class DataSyncPlugin extends EventEmitter {
  name = 'dataSync';
  opts = { requiresAuth: true };
  pathPrefix = '/data-sync';

  #native;
  #calls = new Map();
  #lastId = 0;
  #mayRun;
  #started = false;
  #keepAlive = null;
  #logLevel;
  #lastFailure = null;

  constructor(options = {}) {
    super();
    if (options === null || typeof options !== 'object' || Array.isArray(options)) {
      throw invalid(TypeError, `The options are ${kindOf(options)}; DataSyncPlugin takes an object`, DataSyncPlugin);
    }
    const wishes = plain(options, '', DataSyncPlugin);
    const json = JSON.stringify(wishes);
    const refusal = guarded(() => checkOptions(json));
    if (refusal) {
      const { class: name, code, message } = JSON.parse(refusal);
      throw invalid(name === 'RangeError' ? RangeError : TypeError, message, DataSyncPlugin, code);
    }
    this.#mayRun = wishes.enabled ?? true;
    this.#logLevel = wishes.log_level ?? 'info';
    // Native code that held the plugin itself would keep it from ever being collected.
    const self = new WeakRef(this);
    const take = (message) => self.deref()?.#take(JSON.parse(message));
    this.#native = guarded(() => new NativeDataSync(json, JSON.stringify(environment()), take));
  }

  async register(app, options) {
    if (app !== undefined && app !== null && typeof app !== 'object' && typeof app !== 'function') {
      throw invalid(TypeError, `Argument 'app' is ${kindOf(app)}; register takes StarbaseDB's app`, this.register);
    }
    if (takesRoutes(app)) mount(this, app, options, this.register);
    this.start();
  }

  start() {
    guarded(() => this.#native.start());
    this.#started = this.#mayRun;
    this.#holdProcess();
  }

  async stop() {
    // Before the wait, so that a start() during it is not forgotten.
    this.#started = false;
    await this.#call('stop', {}, this.stop);
  }

  async getSyncStatus() {
    return this.#call('getSyncStatus', {}, this.getSyncStatus);
  }

  async triggerSync(tables, options) {
    const entry = this.triggerSync;
    const names = tableNames(tables, 'triggerSync', entry);
    const { signal, flag: dryRun } = callOptions(options, 'triggerSync', 'dryRun', entry);
    if (signal?.aborted) throw located(aborted('sync', signal), siteOf(entry));
    return this.#call('triggerSync', { tables: names, dryRun }, entry, signal);
  }

  async verify(tables, options) {
    const entry = this.verify;
    // The tables may be left out: verify({ repair: true }).
    const [named, wishes] = isOptions(tables) && options === undefined ? [undefined, tables] : [tables, options];
    const names = tableNames(named, 'verify', entry);
    const { signal, flag: repair } = callOptions(wishes, 'verify', 'repair', entry);
    if (signal?.aborted) throw located(aborted('comparison', signal), siteOf(entry));
    return this.#call('verify', { tables: names, repair }, entry, signal);
  }

  async resetSyncState(table) {
    if (table !== undefined && table !== null && (typeof table !== 'string' || table === '')) {
      const got = table === '' ? 'an empty string' : kindOf(table);
      throw invalid(
        TypeError,
        `Argument 'table' is ${got}; resetSyncState takes a table's name, or nothing for all tables`,
        this.resetSyncState,
      );
    }
    await this.#call('resetSyncState', { table: table ?? null }, this.resetSyncState);
  }

  setLogLevel(level) {
    const accepted = LOG_LEVELS.map((name) => `'${name}'`).join(', ');
    if (typeof level !== 'string') {
      throw invalid(TypeError, `Argument 'level' is ${kindOf(level)}; it takes one of ${accepted}`, this.setLogLevel);
    }
    if (!LOG_LEVELS.includes(level)) {
      throw invalid(RangeError, `Argument 'level' is '${level}'; it takes one of ${accepted}`, this.setLogLevel);
    }
    guarded(() => this.#native.setLogLevel(level));
    this.#logLevel = level;
  }

  #call(method, argument, entry, signal) {
    const site = siteOf(entry);
    const id = ++this.#lastId;
    const abort = () => guarded(() => this.#native.abort(id));
    return new Promise((resolve, reject) => {
      guarded(() => this.#native.call(id, method, JSON.stringify(argument)));
      signal?.addEventListener('abort', abort, { once: true });
      this.#calls.set(id, ({ value, error }) => {
        signal?.removeEventListener('abort', abort);
        if (error) reject(located(this.#sameError(error), site));
        else resolve(value);
      });
      this.#holdProcess();
    });
  }

  #take(message) {
    if (message.type === 'event') {
      this.#dispatch(message.event, message.payload);
      return;
    }
    const settle = this.#calls.get(message.id);
    this.#calls.delete(message.id);
    this.#holdProcess();
    settle?.(message);
  }

  #dispatch(event, payload) {
    let argument = payload;
    if (event === 'syncError') {
      argument = toError(payload);
      this.#lastFailure = { text: JSON.stringify(payload), error: argument };
    } else if (event === 'log') {
      process.stderr.write(`${payload.message}\n`);
    }
    // Not emit(): there the first listener that throws would keep the event from the others.
    for (const listener of this.rawListeners(event)) {
      try {
        const outcome = Reflect.apply(listener, this, [argument]);
        if (typeof outcome?.then === 'function') outcome.then(undefined, (error) => this.#report(event, error));
      } catch (error) {
        this.#report(event, error);
      }
    }
  }

  /** A run's promise rejects with the very error that its `syncError` told. */
  #sameError(failure) {
    return this.#lastFailure?.text === JSON.stringify(failure) ? this.#lastFailure.error : toError(failure);
  }

  #report(event, error) {
    if (this.#logLevel === 'silent') return;
    const text = error instanceof Error ? error.stack : String(error);
    process.stderr.write(`Data Sync Plugin: A listener for '${event}' threw: ${text}\n`);
  }

  /** Keeps the process, and this object, alive exactly while something is under way. */
  #holdProcess() {
    const busy = this.#started || this.#calls.size > 0;
    if (busy && !this.#keepAlive) {
      this.#keepAlive = setInterval(() => this.#holdProcess(), LONGEST_DELAY);
    } else if (!busy && this.#keepAlive) {
      clearInterval(this.#keepAlive);
      this.#keepAlive = null;
    }
  }
}

// Node 18.18 and later have it; a runtime without it loses only `await using`.
if (Symbol.asyncDispose) {
  Object.defineProperty(DataSyncPlugin.prototype, Symbol.asyncDispose, {
    configurable: true,
    writable: true,
    value: function dispose() {
      return this.stop();
    },
  });
}

/** Our variables as this thread has them: native code would see the process's, which in a Worker are others. */
function environment() {
  const ours = ([name]) => name.startsWith('EXTERNAL_DB_') || name === 'STARBASEDB_DATABASE';
  return Object.fromEntries(Object.entries(process.env).filter(ours));
}

/** Native code throws only for a defect of its own. */
function guarded(work) {
  try {
    return work();
  } catch (error) {
    throw new DataSyncError(error.message, { code: 'INTERNAL' });
  }
}

function isOptions(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function tableNames(tables, method, entry) {
  if (tables === undefined || tables === null) return null;
  if (!Array.isArray(tables)) {
    const takes = `${method} takes an array of table names, or nothing for all tables`;
    throw invalid(TypeError, `Argument 'tables' is ${kindOf(tables)}; ${takes}`, entry);
  }
  const wrong = tables.findIndex((name) => typeof name !== 'string' || name === '');
  if (wrong >= 0) {
    const got = tables[wrong] === '' ? 'an empty string' : kindOf(tables[wrong]);
    throw invalid(TypeError, `Argument 'tables[${wrong}]' is ${got}; it takes the name of a table`, entry);
  }
  // As in the option of the same name, an empty list means all.
  return tables.length > 0 ? tables : null;
}

/** The signal of a call's options and the one flag that its method takes, called `name`. */
function callOptions(options, method, name, entry) {
  if (options === undefined || options === null) return { flag: false };
  if (!isOptions(options)) {
    throw invalid(TypeError, `Argument 'options' is ${kindOf(options)}; it takes { signal, ${name} }`, entry);
  }
  const unknown = Object.keys(options).find((key) => key !== 'signal' && key !== name);
  if (unknown !== undefined) {
    throw invalid(TypeError, `Unknown option '${unknown}'; ${method} takes { signal, ${name} }`, entry);
  }
  const { signal = undefined, [name]: flag = false } = options;
  if (typeof flag !== 'boolean') {
    throw invalid(TypeError, `Option '${name}' is ${kindOf(flag)}; it takes a boolean`, entry);
  }
  if (signal !== undefined && (typeof signal?.aborted !== 'boolean' || typeof signal.addEventListener !== 'function')) {
    throw invalid(TypeError, `Option 'signal' is ${kindOf(signal)}; it takes an AbortSignal`, entry);
  }
  return { signal, flag };
}

function aborted(what, signal) {
  const cause = signal.reason?.message ?? String(signal.reason);
  return new DataSyncError(`The ${what} was aborted: ${cause}`, { code: 'ABORTED', cause });
}

module.exports = { DataSyncError, DataSyncPlugin, default: DataSyncPlugin };
// For compilers that turn `import DataSyncPlugin from` into `require`.
Object.defineProperty(module.exports, '__esModule', { value: true });
