// A process that does harm: `attackers.ts OPTIONS`, as JSON. It runs below everybody else's priority. Says when its
// clients stand; asked to end, it tells what became of them.
import { setPriority } from 'node:os';
import { type Attack, type AttackOptions, attacks } from './attacks.ts';

setPriority(19);
process.on('disconnect', () => process.exit());
const options: AttackOptions = JSON.parse(process.argv[2]!);
const attack: Attack = attacks[options.name]!;
const asked = new Promise((resolve) => process.once('message', resolve));
const end = await attack(options);
process.send!('stands');
await asked;
process.send!(await end(), () => process.disconnect());
