// GET /: the page that shows all this to people. Its files are served as they are written, uPlot's from its package. They
// are for everybody, since a browser that follows a link brings no token: the page asks for one, and tells nothing
// without it.
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { type Answer, failure } from '../http.ts';
import type { Route } from '../route.ts';

const FOLDER = new URL('../page/', import.meta.url);
const INDEX = new URL('index.html', FOLDER);

const MODULES = [
  'actions.js',
  'charts.js',
  'connections.js',
  'dialogs.js',
  'elements.js',
  'events.js',
  'figures.js',
  'format.js',
  'history.js',
  'page.js',
  'pools.js',
  'server.js',
  'theme.js',
];

/** What the page may ask for, by name: nothing of the file system can be reached through this. */
const FILES: Readonly<Record<string, URL>> = {
  ...Object.fromEntries([...MODULES, 'style.css', 'icon.svg'].map((name) => [name, new URL(name, FOLDER)])),
  'uplot.js': new URL(import.meta.resolve('uplot/dist/uPlot.esm.js')),
  'uplot.css': new URL(import.meta.resolve('uplot/dist/uPlot.min.css')),
};

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};

/** Nothing from anywhere else, and no text that becomes script: a ClientId may hold whatever a stranger likes. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const HEADERS = {
  'content-security-policy': POLICY,
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

export const page: Route = {
  method: 'GET',
  path: '/',
  summary: 'The page that shows the state of everything to people',
  isOpen: true,
  responses: { 200: { description: 'The page.', content: { type: 'text/html', schema: z.string() } } },
  answer: () => fileAnswer(INDEX),
};

export const pageFile: Route = {
  method: 'GET',
  path: '/page/{file}',
  summary: 'What the page is made of: its scripts, its style, its icon',
  isOpen: true,
  responses: { 200: { description: 'The file.', content: { type: 'text/javascript', schema: z.string() } } },
  answer: (_context, { parameters: { file = '' } }) => {
    return Object.hasOwn(FILES, file) ? fileAnswer(FILES[file]!) : failure(404, 'the page has no file of this name');
  },
};

/** Each is read once: together they are small. */
const contents = new Map<string, Promise<Uint8Array>>();

async function fileAnswer(url: URL): Promise<Answer> {
  const body = contents.get(url.href) ?? readFile(url);
  contents.set(url.href, body);
  const extension = url.pathname.slice(url.pathname.lastIndexOf('.') + 1);
  return { status: 200, headers: { 'content-type': TYPES[extension]!, ...HEADERS }, body: await body };
}
