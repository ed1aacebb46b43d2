// The page's entry: what comes from the server goes to those who show it.
import { Actions } from './actions.js';
import { Connections } from './connections.js';
import { askToken } from './dialogs.js';
import { setAttribute, setText } from './elements.js';
import { Ends, Events } from './events.js';
import { Figures } from './figures.js';
import { History } from './history.js';
import { Pools } from './pools.js';
import { Server } from './server.js';
import { startTheme } from './theme.js';

const server = new Server(askToken);
const actions = new Actions(server);
const history = new History();
const figures = new Figures(history);
const pools = new Pools(history, actions);
const events = new Events();
const ends = new Ends();
const connections = new Connections(server, actions);

startTheme(document.getElementById('theme'), () => pools.recolour());
await events.load(server); // asks for the token, where one is expected
connections.search();

let wasLive = true;
server.listen({
  onStatus(status, atMs) {
    history.add(status, atMs);
    figures.update(status);
    pools.update(status, atMs);
    ends.update(status);
    connections.update(status);
  },
  onEvent: (event) => events.add(event),
  onState(state) {
    const link = document.getElementById('link');
    setAttribute(link, 'data-state', state);
    setText(link.lastElementChild, state === 'live' ? 'live' : 'connecting');
    if (state === 'live' && !wasLive) events.load(server);
    wasLive = state === 'live';
  },
});
