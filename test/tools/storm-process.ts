// A process with the clients of a storm: `storm-process.ts OPTIONS`, as JSON. Says when its sessions stand, and what became
// of them when it is told to end.
import { SessionsStorm } from './sessions-storm.ts';

process.on('disconnect', () => process.exit());
const storm = new SessionsStorm(JSON.parse(process.argv[2]!));
await storm.begin();
process.send!('stands');
process.once('message', async () => {
  const damage = await storm.end();
  process.send!(damage, () => process.disconnect());
});
