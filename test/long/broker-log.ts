// As many probes as an hour has, at a broker that logs everything: it shall find nothing odd in them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startBalancer } from '../tools/balancer.ts';
import { startMosquitto } from '../tools/mosquitto.ts';
import { waitFor } from '../tools/wait.ts';

/** One every five seconds. */
const HOUR_OF_PROBES = 720;

/** What one visit of a probe leaves in mosquitto's log, in this order. */
const VISIT = [
  /^New connection from 127\.0\.0\.1:\d+ on port \d+\.$/,
  /^New client connected from 127\.0\.0\.1:\d+ as (?<id>tidegate-health-\S+) \(p\d, c1, k\d+\)\.$/,
  /^No will message specified\.$/,
  /^Sending CONNACK to (?<id>tidegate-health-\S+) \(0, 0\)$/,
  /^Received DISCONNECT from (?<id>tidegate-health-\S+)$/,
  /^Client (?<id>tidegate-health-\S+) disconnected\.$/,
];

for (const version of ['3.1.1', '5'] as const) {
  test(`a broker's log shows an hour's probes of MQTT ${version} as clean visits, and nothing else`, async (context) => {
    const broker = await startMosquitto(context);
    if (broker === undefined) return;
    const before = broker.log().length;
    const balancer = await startBalancer(context, {
      engine: 'portable',
      backends: [broker.address],
      health: { type: 'mqtt', interval: '10ms', version },
    });
    const visits = () => broker.log().filter((line) => line.startsWith('Client tidegate-health-')).length;
    await waitFor(`${HOUR_OF_PROBES} probes`, () => visits() >= HOUR_OF_PROBES, 60_000);
    await balancer.stop();
    await waitFor('end of the last visit', () => (broker.log().length - before) % VISIT.length === 0);
    const lines = broker.log().slice(before);
    const ids = new Set<string>();
    for (const [index, line] of lines.entries()) {
      const found = VISIT[index % VISIT.length]!.exec(line);
      assert.ok(found, `line ${index}: ${line}`);
      if (found.groups !== undefined) ids.add(found.groups.id!);
    }
    context.diagnostic(`${visits()} probes, ${lines.length} lines, ClientIds: ${[...ids].join(' ')}`);
  });
}
