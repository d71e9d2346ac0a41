'use strict';

/** Where the routes are: below the page, wherever the app has it. */
const BASE = location.pathname.replace(/\/$/, '');
const TOKEN = 'data-sync-token';
/** Log lines that are kept. */
const LINES = 200;
/** Milliseconds between two looks at the status while nothing happens, and before a broken connection is made anew. */
const [LOOK, AGAIN] = [10_000, 2000];

const at = (id) => document.getElementById(id);

/** Texts from outside only ever become text. */
function element(name, { text, className, ...rest } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  Object.assign(made, rest);
  made.append(...children);
  return made;
}

const state = { status: null, running: new Map(), connected: false, failure: null };

// The token.

let asking = null;

/** Asks for the token; whoever asks meanwhile waits for the same answer. */
function askForToken(refused) {
  asking ??= new Promise((resolve) => {
    if (refused) at('refused').textContent = 'That token was refused. It stays in this tab.';
    const dialog = at('entrance');
    // Without a token there is nothing to show.
    dialog.addEventListener('cancel', (event) => event.preventDefault());
    dialog.addEventListener(
      'close',
      () => {
        sessionStorage.setItem(TOKEN, at('token').value.trim());
        at('token').value = '';
        asking = null;
        resolve();
      },
      { once: true },
    );
    dialog.showModal();
  });
  return asking;
}

/** Asks a route; a refusal asks for the token and then again. */
async function ask(path, { body, signal } = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    if (body !== undefined) headers['content-type'] = 'application/json';
    const answer = await fetch(`${BASE}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
    if (answer.status !== 401 && answer.status !== 403) return answer;
    await askForToken(token !== null);
  }
}

async function told(path, options) {
  const answer = await ask(path, options);
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error.message);
  return value;
}

// What is shown.

function ago(time) {
  if (time === null) return 'never';
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(time)) / 1000));
  for (const [size, unit] of [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
  ]) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return `${seconds} s ago`;
}

function notice(text, fine = false) {
  const box = at('notice');
  box.hidden = false;
  box.classList.toggle('fine', fine);
  box.firstElementChild.textContent = text;
}

function stateOf(name, table) {
  const running = state.running.get(name);
  if (running) {
    const { phase, rows, estimatedRows, rowsPerSecond } = running;
    const words = { snapshot: 'Loading', incremental: 'Syncing', verify: 'Comparing' }[phase] ?? phase;
    const cell = element('td', {}, element('span', { className: 'busy', text: words }));
    if (rows > 0) {
      const speed = `${rows.toLocaleString()} rows, ${Math.round(rowsPerSecond).toLocaleString()} a second`;
      cell.append(element('span', { className: 'detail quiet', text: speed }));
    }
    const bar = element('progress', { max: Math.max(estimatedRows ?? 0, rows, 1) });
    if (estimatedRows) bar.value = rows;
    bar.setAttribute('aria-label', `Progress of ${name}`);
    cell.append(bar);
    return cell;
  }
  if (table?.lastError) {
    const words = element('span', { className: 'bad', text: 'Failed' });
    return element('td', {}, words, element('span', { className: 'detail', text: table.lastError }));
  }
  if (table?.phase === 'snapshot') return element('td', {}, element('span', { className: 'warn', text: 'First load' }));
  return element('td', {}, element('span', { className: 'good', text: 'In sync' }));
}

function rowOf(name, table) {
  const untracked = table?.nullTracked ? `, ${table.nullTracked.toLocaleString()} untracked` : '';
  const reset = element('button', {
    type: 'button',
    className: 'link',
    text: 'Reset',
    onclick: () => askToReset(name),
  });
  reset.setAttribute('aria-label', `Reset ${name}`);
  return element(
    'tr',
    {},
    element(
      'td',
      {},
      element('span', { className: 'name', text: name }),
      element('span', { className: 'detail quiet', text: table ? `${table.mode}${untracked}` : '' }),
    ),
    stateOf(name, table),
    element('td', { className: 'number', text: table ? table.recordCount.toLocaleString() : '' }),
    element('td', { className: 'mono', text: table?.lastValue ?? '–' }),
    element('td', { text: table ? ago(table.lastSyncTime) : '' }),
    element('td', {}, table ? reset : ''),
  );
}

let drawing = false;

/** Draws soon: many events may come before the next frame. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const { status, running, connected, failure } = state;
    const busy = running.size > 0 || status?.isRunning;
    const failed = failure !== null || Object.values(status?.tableMap ?? {}).some(({ lastError }) => lastError);
    const line = at('state');
    const since = status ? `last in sync ${ago(status.lastSyncTime)}` : '';
    const [words, mood] = connected
      ? [busy ? 'Running' : failed ? 'The last run failed' : 'Idle', busy ? 'busy' : failed ? 'bad' : 'good']
      : ['Not connected', 'warn'];
    const text = since ? `${words} · ${since}` : words;
    if (line.textContent !== text) line.textContent = text;
    line.className = `state ${mood}`;
    const names = new Set([...Object.keys(status?.tableMap ?? {}), ...running.keys()]);
    const focus = document.activeElement?.getAttribute('aria-label');
    at('tables').replaceChildren(...[...names].sort().map((name) => rowOf(name, status?.tableMap[name])));
    // The button that had it is another one now.
    if (focus) [...at('tables').querySelectorAll('button')].find((one) => one.ariaLabel === focus)?.focus();
    at('none').hidden = names.size > 0 || status === null;
  });
}

function log({ level, message }) {
  const list = at('log');
  const follows = list.scrollTop + list.clientHeight >= list.scrollHeight - 4;
  const mood = { warn: 'warn', error: 'bad' }[level] ?? '';
  const time = element('time', { text: new Date().toLocaleTimeString() });
  const words = element('span', { className: mood, text: message.replace('Data Sync Plugin: ', '') });
  list.append(element('li', {}, time, words));
  while (list.children.length > LINES) list.firstChild.remove();
  if (follows) list.scrollTop = list.scrollHeight;
}

// What happens.

async function look() {
  state.status = await told('/status');
  // A comparison tells of no end.
  if (!state.status.isRunning) state.running.clear();
  draw();
}

const HEARD = {
  syncStart() {
    state.failure = null;
    state.running.clear();
  },
  tableStart({ table, phase }) {
    state.running.set(table, { phase, rows: 0, estimatedRows: null, rowsPerSecond: 0 });
  },
  progress(event) {
    state.running.set(event.table, event);
  },
  tableComplete({ table }) {
    state.running.delete(table);
    look().catch(() => {});
  },
  syncComplete() {
    state.running.clear();
    look().catch(() => {});
  },
  syncError(error) {
    state.running.clear();
    state.failure = error;
    notice(`${error.code}: ${error.message}`);
    look().catch(() => {});
  },
  log,
};

/** Reads the events as they come. `EventSource` would bring no token. */
async function listen() {
  const answer = await ask('/events');
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  state.connected = true;
  await look();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const messages = (rest + value).split('\n\n');
    rest = messages.pop();
    for (const message of messages) {
      const [, name] = /^event: (.*)$/m.exec(message) ?? [];
      const [, data] = /^data: (.*)$/m.exec(message) ?? [];
      if (name && data) HEARD[name]?.(JSON.parse(data));
    }
    draw();
  }
}

async function follow() {
  for (;;) {
    // A connection that breaks is made anew; so is one that the server ends.
    await listen().catch(() => {});
    state.connected = false;
    state.running.clear();
    draw();
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
  }
}

async function pressed(button, work) {
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    notice(error.message);
  } finally {
    button.disabled = false;
    state.running.clear();
    look().catch(() => {});
  }
}

const plural = (count, noun) => `${count.toLocaleString()} ${noun}${count === 1 ? '' : 's'}`;

at('sync').onclick = () =>
  pressed(at('sync'), async () => {
    const { rowsInserted, rowsUpdated, rowsDeleted } = await told('/sync', { body: {} });
    notice(`Synced: ${plural(rowsInserted, 'row')} new, ${rowsUpdated} changed, ${rowsDeleted} deleted`, true);
  });

at('verify').onclick = () =>
  pressed(at('verify'), async () => {
    const { tables } = await told('/verify', { body: {} });
    const differ = Object.entries(tables).filter(([, found]) => found.missing + found.extra + found.different > 0);
    if (differ.length === 0) notice(`${plural(Object.keys(tables).length, 'table')} compared, no difference`, true);
    else {
      const words = differ.map(
        ([name, { missing, extra, different }]) =>
          `${name}: ${missing} missing, ${extra} extra, ${different} different`,
      );
      notice(words.join('; '));
    }
  });

at('dismiss').onclick = () => {
  at('notice').hidden = true;
};

function askToReset(name) {
  const dialog = at('question');
  at('question-text').textContent =
    `Forget the position of ${name}? Its rows stay; the next run reads the whole table again.`;
  dialog.returnValue = 'no';
  dialog.onclose = () => {
    if (dialog.returnValue !== 'yes') return;
    told('/reset', { body: { table: name } })
      .then(() => notice(`${name} is read anew by the next run`, true))
      .catch((error) => notice(error.message))
      .finally(look);
  };
  dialog.showModal();
}

setInterval(() => {
  if (state.connected) look().catch(() => {});
}, LOOK);
follow();
