// GET /api/v1/live for whoever asks for it without a WebSocket, and its place in the description of the API. The
// sockets themselves are ../live.ts's.
import { failure, failureSchema } from '../http.ts';
import { LIVE_PATH, VISITORS_MAX } from '../live.ts';
import type { Route } from '../route.ts';

export const live: Route = {
  method: 'GET',
  path: LIVE_PATH,
  summary: 'A WebSocket that tells the status once a second, and each event as it comes',
  details:
    'Each message of the server is a JSON text: {"type": "status", "at_ms": ..., "status": ...} with the document of ' +
    '/api/v1/status and the time in milliseconds since 1970, at once and then once a second; or {"type": "event", ' +
    '"event": ...} with an event as in /api/v1/events. Where the API has a token and the request had none, the first ' +
    'message of the client is {"token": "..."}, within ten seconds; a wrong one ends the socket with code 4401. ' +
    'Nothing else is expected of a client. Pages of another origin are refused. One that reads too slowly is dropped; ' +
    `at most ${VISITORS_MAX} are served at once, more are answered with 503.`,
  responses: {
    426: {
      description: 'This was no request for a WebSocket.',
      content: { type: 'application/json', schema: failureSchema },
    },
  },
  answer: () => failure(426, 'a WebSocket is expected', { upgrade: 'websocket' }),
};
