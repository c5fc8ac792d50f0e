// The expected side of the differential tests, from JavaScript's own built-ins. Reads one JSON value
// per line and answers each with one line: {"ok": value}, or {"error": name}.
import { createHash, createHmac } from 'node:crypto';
import { createInterface } from 'node:readline';

function sorted(value) {
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(sorted);
  const rebuilt = {};
  for (const key of Object.keys(value).sort((a, b) => a.localeCompare(b))) {
    rebuilt[key] = sorted(value[key]);
  }
  return rebuilt;
}

function canonical(message) {
  if (message === null) return '';
  if (typeof message !== 'object') return String(message);
  return JSON.stringify(sorted(message));
}

function path(target) {
  const url = new URL(target, 'http://localhost');
  return url.pathname + url.search;
}

const sha256 = (data) => createHash('sha256').update(data).digest('hex');
const hmac = (key, data) => createHmac('sha256', key).update(data).digest('hex');

const answers = {
  locale: () => Intl.Collator().resolvedOptions().locale,
  path: ({ target }) => path(target),
  // In hex, because a text may have unpaired surrogates, which no JSON reader of the other side takes.
  canonical: ({ json }) => Buffer.from(canonical(JSON.parse(json)), 'utf8').toString('hex'),
  hash: ({ secret, token }) => (token === '' ? sha256(secret) : hmac(token, secret)),
  body: ({ hex }) => sha256(Buffer.from(hex, 'hex').toString('utf8')),
  request: ({ key, method, target, timestamp, nonce, body }) =>
    hmac(key, [method.toUpperCase(), path(target), String(timestamp), nonce, sha256(body)].join('\n')),
  message: ({ key, client, json }) =>
    hmac(key, `${client.trim()}\n${sha256(canonical(JSON.parse(json)))}`),
};

for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  let answer;
  try {
    answer = { ok: answers[question.kind](question) };
  } catch (error) {
    answer = { error: error.name };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
