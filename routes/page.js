'use strict';

const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { content } = require('./answer.js');

const read = (name) => readFileSync(join(__dirname, 'page', name), 'utf8');
const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

let made;

/** The page that shows tables, positions, progress and errors: one file without anything from elsewhere. */
function page() {
  made ??= make();
  return content(made.html, 'text/html; charset=utf-8', {
    'content-security-policy': made.policy,
    'referrer-policy': 'no-referrer',
    'x-frame-options': 'DENY',
  });
}

function make() {
  const [style, script] = [read('page.css'), read('page.client.js')];
  const policy = [
    "default-src 'none'",
    `style-src ${hash(style)}`,
    `script-src ${hash(script)}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  const html = read('page.html')
    .replace('/* style */', () => style)
    .replace('/* script */', () => script);
  return { html, policy: policy.join('; ') };
}

module.exports = { page };
