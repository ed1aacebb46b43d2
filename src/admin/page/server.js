// The admin API as the page uses it: requests, the live socket, and the token for both. The token is kept for this tab
// and as long as it lives.

const TOKEN_KEY = 'tidegate-token';
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 8000;
/** The status comes every second: after so long without one the socket is given up. */
const SILENCE_MS = 5000;
const TOKEN_EXPECTED = 4401;

/** `askToken(wasWrong)` resolves with what a person has typed. */
export class Server {
  #askToken;
  #asking;

  constructor(askToken) {
    this.#askToken = askToken;
  }

  /** `{ status, body }`; status 0 when there was no answer. Asks for a token and again where one is expected. */
  async ask(method, path, body) {
    for (;;) {
      const token = sessionStorage.getItem(TOKEN_KEY);
      const answer = await request(method, path, body, token);
      if (answer.status !== 401) return answer;
      await this.renewToken(token);
    }
  }

  /** One dialog, however many ask for it; none when another token has come meanwhile. */
  async renewToken(refused) {
    if (sessionStorage.getItem(TOKEN_KEY) !== refused) return;
    this.#asking ??= this.#askToken(refused !== null).finally(() => {
      this.#asking = undefined;
    });
    sessionStorage.setItem(TOKEN_KEY, await this.#asking);
  }

  /** Goes on for ever. `handlers`: onStatus(status, atMs), onEvent(event), onState('live' | 'connecting'). */
  listen(handlers) {
    let retryMs = RETRY_MS_MIN;
    const open = () => {
      const token = sessionStorage.getItem(TOKEN_KEY);
      const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/api/v1/live`);
      let silence;
      const expectMore = () => {
        clearTimeout(silence);
        silence = setTimeout(() => socket.close(), SILENCE_MS);
      };
      expectMore();
      socket.addEventListener('open', () => {
        if (token !== null) socket.send(JSON.stringify({ token }));
      });
      socket.addEventListener('message', ({ data }) => {
        const message = JSON.parse(data);
        retryMs = RETRY_MS_MIN;
        expectMore();
        if (message.type === 'event') return handlers.onEvent(message.event);
        handlers.onState('live');
        return handlers.onStatus(message.status, message.at_ms);
      });
      socket.addEventListener('close', async ({ code }) => {
        clearTimeout(silence);
        handlers.onState('connecting');
        if (code === TOKEN_EXPECTED) await this.renewToken(token);
        setTimeout(open, retryMs);
        retryMs = Math.min(RETRY_MS_MAX, retryMs * 2);
      });
    };
    open();
  }
}

async function request(method, path, body, token) {
  const headers = {};
  if (method !== 'GET') headers['content-type'] = 'application/json';
  if (token !== null) headers.authorization = `Bearer ${token}`;
  const sent = body === undefined ? undefined : JSON.stringify(body);
  try {
    const response = await fetch(path, { method, headers, body: sent });
    return { status: response.status, body: await response.json().catch(() => null) };
  } catch {
    return { status: 0, body: null };
  }
}

export function backendPath(pool, address, more = '') {
  return `/api/v1/pools/${encodeURIComponent(pool)}/backends/${encodeURIComponent(address)}${more}`;
}
