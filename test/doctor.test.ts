import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { parseConfig } from '../src/config.ts';
import { type Diagnosis, diagnose, type Finding, isWell } from '../src/doctor/diagnosis.ts';
import { readMachine } from '../src/doctor/machine.ts';
import { NO_CONFIGURATION, planOf } from '../src/doctor/plan.ts';
import { diagnosisText, verdictLine } from '../src/doctor/text.ts';
import type { Trials } from '../src/doctor/trials.ts';
import { bindError, TidegateError } from '../src/errors.ts';
import { getrlimit, RLIMIT_NOFILE } from '../src/system/libc.ts';
import { startAdministered } from './tools/administered.ts';
import { readerOf } from './tools/machines.ts';
import { type Ended, Program, runProgram } from './tools/program.ts';
import { requires } from './tools/requirements.ts';

const MILLION = 1_000_000;
const URING = { engine: 'uring', why: 'the kernel allows io_uring' } as const;
const BROKERS =
  'listeners: [{ bind: 0.0.0.0:1883, pool: brokers }]\npools: { brokers: { backends: [10.0.0.11:1883] } }\n';
const SIXTEEN_BROKERS = BROKERS.replace(
  '10.0.0.11:1883',
  Array.from({ length: 16 }, (_, index) => `10.0.0.${index + 1}:1883`).join(', '),
);

interface Look {
  machine: string;
  /** Files that say something else than on that machine. */
  changes?: Record<string, string>;
  /** YAML; none: no configuration. */
  config?: string;
  connections?: number;
  trials?: Partial<Trials>;
}

function look({ machine: name, changes, config: yaml, connections, trials: tried }: Look): Diagnosis {
  const machine = readMachine(readerOf(name, changes));
  const trials: Trials = { engine: URING, cores: 2, addresses: [], backends: null, ...tried };
  const config = yaml === undefined ? NO_CONFIGURATION : parseConfig(yaml, 'test.yaml');
  return diagnose({ machine, trials, plan: planOf(config, machine, trials, connections) });
}

function finding({ checks }: Diagnosis, name: string): Finding {
  const found = checks.find((check) => check.name === name);
  assert.ok(found, `${name} is not among ${checks.map((check) => check.name).join(', ')}`);
  return found;
}

function verdicts(diagnosis: Diagnosis): Record<string, string> {
  const faults = diagnosis.checks.filter(({ verdict }) => verdict !== 'ok');
  return Object.fromEntries(faults.map(({ name, verdict }) => [name, verdict]));
}

const limits = (name: string, limit: string) => `${name.padEnd(26)}${limit.padEnd(21)}${limit}`;

describe('descriptors', () => {
  test('each worker of uring has a table of its own, so that more workers lift the bound', () => {
    const diagnosis = look({ machine: 'vm-6.18', connections: MILLION });
    const { verdict, bound, mend } = finding(diagnosis, 'RLIMIT_NOFILE');
    assert.deepEqual([verdict, bound], ['bounds', 2 * 9968]);
    assert.deepEqual(mend, ['workers: 107', 'LimitNOFILE=1000064', 'ulimit -n 1000064']);
    assert.equal(verdictLine(diagnosis), '1,000,000 connections: bounded to 19,936 by RLIMIT_NOFILE');
    assert.equal(isWell(diagnosis), false);
  });

  test('each of those lines mends it', () => {
    const raised = { '/proc/self/limits': limits('Max open files', '1000064') };
    const more = look({ machine: 'vm-6.18', connections: MILLION, config: `workers: 101\n${BROKERS}` });
    const higher = look({ machine: 'vm-6.18', connections: MILLION, changes: raised });
    for (const diagnosis of [more, higher]) assert.equal(finding(diagnosis, 'RLIMIT_NOFILE').verdict, 'ok');
  });

  test('the portable engine has one table for all, which more workers do not lift', () => {
    const config = `engine: portable\n${BROKERS}`;
    const trials = { engine: { engine: 'portable', why: 'the configuration asks for it' } } as const;
    const { bound, mend } = finding(look({ machine: 'vm-6.18', connections: 50_000, config, trials }), 'RLIMIT_NOFILE');
    assert.equal(bound, 2 * 4950);
    assert.deepEqual(mend, ['LimitNOFILE=100200', 'ulimit -n 100200']);
    const most = finding(look({ machine: 'vm-6.18', connections: MILLION, config, trials }), 'RLIMIT_NOFILE');
    assert.deepEqual(most.mend, ['another instance, on another port or machine']);
  });

  test('connections_max that the limit does not hold is no bound but a start that fails', () => {
    const config = `connections_max: 10000\nworkers: 2\n${BROKERS}`;
    const diagnosis = look({ machine: 'vm-6.18', config });
    const { verdict, mend } = finding(diagnosis, 'RLIMIT_NOFILE');
    assert.deepEqual([verdict, mend], ['fails', ['LimitNOFILE=20064', 'ulimit -n 20064', 'connections_max: 9968']]);
    assert.equal(diagnosis.connections.wanted, 20_000);
    assert.match(
      verdictLine(diagnosis),
      /^20,000 connections \(connections_max of 2 workers\): no start, because of RLIMIT_NOFILE/,
    );
  });

  test('so is a limit that leaves no room for the accepts that wait on a listener', () => {
    const changes = { '/proc/self/limits': limits('Max open files', '64') };
    const { verdict, mend } = finding(look({ machine: 'vm-6.18', config: BROKERS, changes }), 'RLIMIT_NOFILE');
    assert.deepEqual([verdict, mend], ['fails', ['LimitNOFILE=68', 'ulimit -n 68']]);
  });

  test('listeners that uring does not carry have the one table, beside those of its workers', () => {
    const webSocket = '{ bind: 0.0.0.0:8083, pool: brokers, websocket: { path: /mqtt } }';
    const bound = (config: string) =>
      finding(look({ machine: 'vm-6.18', config, connections: MILLION }), 'RLIMIT_NOFILE').bound;
    assert.equal(bound(BROKERS.replace('[{', `[${webSocket}, {`)), 2 * 9968 + 2 * 4950);
    assert.equal(bound(BROKERS.replace(/\{.*?\}/, webSocket)), 2 * 4950);
  });

  test('fs.file-max is shared with what is open already', () => {
    const changes = { '/proc/sys/fs/file-max': '101108' };
    const { bound, mend } = finding(look({ machine: 'vm-6.18', connections: 60_000, changes }), 'fs.file-max');
    assert.deepEqual([bound, mend], [50_000, ['sysctl -w fs.file-max=121108']]);
  });
});

describe('engine uring', () => {
  test('a kernel that is too old leaves the portable engine, or nothing where uring is asked for', () => {
    const why = 'this kernel is too old: Linux 6.13 or newer is needed';
    const engine = { engine: 'portable', why } as const;
    const left = look({ machine: 'debian-12', connections: 300_000, trials: { engine } });
    assert.deepEqual(finding(left, 'kernel'), {
      name: 'kernel',
      found: 'Linux 6.1.0-28-amd64',
      needed: '6.13 for uring',
      verdict: 'bounds',
      bound: (524_288 - 200) / 2,
      mend: ['boot Linux 6.13 or newer'],
    });
    const trials = { engine: new TidegateError('URING', `engine uring can't be had: ${why}`) };
    const asked = look({ machine: 'debian-12', config: `engine: uring\n${BROKERS}`, trials });
    assert.equal(finding(asked, 'kernel').verdict, 'fails');
  });

  test('what forbids io_uring is named: the sysctl, or the filter of a container', () => {
    const engine = { engine: 'portable', why: 'io_uring_setup: EPERM: io_uring is forbidden here' } as const;
    const filtered = finding(look({ machine: 'container', trials: { engine } }), 'io_uring');
    assert.match(filtered.mend[0]!, /^allow io_uring_setup, .* in the seccomp profile/);
    assert.equal(filtered.verdict, 'ok');
    const changes = { '/proc/sys/kernel/io_uring_disabled': '2' };
    const forbidden = { engine: 'portable', why: 'io_uring_setup: EACCES: io_uring is forbidden here' } as const;
    const byModule = finding(look({ machine: 'vm-6.18', trials: { engine: forbidden } }), 'io_uring');
    assert.deepEqual(byModule.mend, ['allow io_uring in the security module that forbids it']);
    const pages = { engine: 'portable', why: 'a page of memory has 65536 bytes here, and uring needs 4096' } as const;
    const byPages = finding(look({ machine: 'vm-6.18', trials: { engine: pages } }), 'io_uring');
    assert.deepEqual(byPages.mend, ['boot another kernel, or live with engine: portable']);
    const disabled = finding(look({ machine: 'vm-6.18', changes, trials: { engine } }), 'io_uring');
    assert.deepEqual(disabled.mend, ['sysctl -w kernel.io_uring_disabled=0']);
  });

  test('rings are locked memory for all but who may lock what he likes', () => {
    const config = `workers: 101\n${BROKERS}`;
    const changes = { '/proc/self/status': 'CapEff:\t0000000000000000\nSeccomp:\t0' };
    assert.equal(finding(look({ machine: 'vm-6.18', config }), 'RLIMIT_MEMLOCK').verdict, 'ok');
    const few = finding(look({ machine: 'vm-6.18', config: `workers: 20\n${BROKERS}`, changes }), 'RLIMIT_MEMLOCK');
    assert.equal(few.verdict, 'ok');
    assert.match(few.found, /a successor at an upgrade needs as much again$/);
    const namespace = { '/proc/self/uid_map': '         0     100000      65536' };
    assert.equal(finding(look({ machine: 'vm-6.18', config, changes: namespace }), 'RLIMIT_MEMLOCK').verdict, 'bounds');
    const { verdict, mend, bound } = finding(look({ machine: 'vm-6.18', config, changes }), 'RLIMIT_MEMLOCK');
    assert.deepEqual([verdict, mend], ['bounds', ['LimitMEMLOCK=infinity', 'ulimit -l unlimited']]);
    assert.ok(bound! < 10_000);
    const asked = look({ machine: 'vm-6.18', config: `engine: uring\n${config}`, changes });
    assert.equal(finding(asked, 'RLIMIT_MEMLOCK').verdict, 'fails');
    // Who becomes somebody else has to be able to lift the limit before; and it is too late for the other engine then.
    const becomes = look({ machine: 'vm-6.18', config: `user: nobody\n${config}` });
    assert.equal(finding(becomes, 'RLIMIT_MEMLOCK').verdict, 'fails');
  });
});

describe('memory', () => {
  test('the tightest of the control groups counts, without the files that it keeps', () => {
    const { found, bound, mend } = finding(
      look({ machine: 'debian-12', connections: MILLION }),
      'memory of the control group',
    );
    assert.equal(found, '2 GiB, 512 MiB in use (/sys/fs/cgroup/system.slice/memory.max)');
    assert.equal(bound, Math.floor((1.5 * 2 ** 30 - 2 * 21 * 2 ** 20) / 8456));
    assert.equal(mend[0], `MemoryMax=${Math.ceil((2 ** 29 + MILLION * 8456 + 42 * 2 ** 20) / 2 ** 20)}M`);
    assert.match(mend[1]!, /^echo \d+ > \/sys\/fs\/cgroup\/system\.slice\/memory\.max$/);
  });

  test('a container sees its own group as the top', () => {
    const { found } = finding(look({ machine: 'container' }), 'memory of the control group');
    assert.equal(found, '512 MiB, 40 MiB in use (/sys/fs/cgroup/memory.max)');
  });

  test('a group of version 1 is found below the mount, whatever the path is outside of the container', () => {
    const changes = {
      '/proc/self/cgroup': '4:memory:/docker/0a1b',
      '/proc/self/mountinfo': '35 31 0:32 /docker/0a1b /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '1073741824',
      '/sys/fs/cgroup/memory/memory.usage_in_bytes': '104857600',
    };
    const { found } = finding(look({ machine: 'vm-6.18', changes }), 'memory of the control group');
    assert.equal(found, '1 GiB, 100 MiB in use (/sys/fs/cgroup/memory/memory.limit_in_bytes)');
  });

  test('what is available on the machine bounds the rest', () => {
    const { verdict, bound, mend } = finding(look({ machine: 'debian-12', connections: MILLION }), 'memory');
    assert.equal(verdict, 'bounds');
    assert.equal(bound, Math.floor((7_412_004 * 1024 - 2 * 21 * 2 ** 20) / 8456));
    assert.deepEqual(mend, ['868 MiB more memory', `connections_max: ${Math.floor(bound! / 2)}`]);
  });

  test('who may not reserve more than there is needs the tables of all workers', () => {
    const memory = 'MemAvailable: 22067052 kB\nCommitLimit: 12342040 kB\nCommitted_AS: 3145728 kB';
    const changes = { '/proc/sys/vm/overcommit_memory': '2', '/proc/meminfo': memory };
    const few = finding(look({ machine: 'vm-6.18', changes }), 'vm.overcommit_memory');
    assert.deepEqual([few.verdict, few.found], ['ok', '8.8 GiB may be reserved']);
    const many = look({ machine: 'vm-6.18', changes, config: `workers: 200\n${BROKERS}` });
    assert.deepEqual(finding(many, 'vm.overcommit_memory').mend, ['sysctl -w vm.overcommit_memory=0']);
    assert.equal(finding(many, 'vm.overcommit_memory').verdict, 'fails');
  });
});

describe('the network', () => {
  const pool = (rest: string) => `listeners: [{ bind: 0.0.0.0:1883, pool: a }]\npools: { a: { ${rest} } }\n`;
  const ports = 'net.ipv4.ip_local_port_range';

  test('ports bound the connections from each source to each backend', () => {
    const config = pool('source_addresses: [10.0.0.1, 10.0.0.2], backends: [10.0.0.11:1883, 10.0.0.12:1883]');
    const { bound, mend } = finding(look({ machine: 'vm-6.18', config, connections: 200_000 }), ports);
    assert.equal(bound, 4 * 28_232);
    assert.deepEqual(mend, [
      'sysctl -w net.ipv4.ip_local_port_range="1024 65535" net.ipv4.ip_local_reserved_ports=1883,9883',
      'pools.a.source_addresses: 4 addresses of this machine',
    ]);
  });

  test('the portable engine finds half of the ports quickly, which is a hint', () => {
    const config = `engine: portable\n${pool('backends: [10.0.0.11:1883]')}`;
    const trials = { engine: { engine: 'portable', why: 'the configuration asks for it' } } as const;
    const changes = { '/proc/self/limits': limits('Max open files', '100000') };
    const { verdict, mend } = finding(
      look({ machine: 'vm-6.18', config, connections: 20_000, trials, changes }),
      ports,
    );
    assert.equal(verdict, 'ok');
    assert.equal(mend[1], 'pools.a.source_addresses: 2 addresses of this machine');
    const quick = finding(look({ machine: 'vm-6.18', config, connections: 14_000, trials, changes }), ports);
    assert.deepEqual(quick.mend, []);
  });

  test('the heaviest backend fills first, and one that only stands by holds nobody', () => {
    const backends =
      '{ address: 10.0.0.11:1883, weight: 3 }, 10.0.0.12:1883, { address: 10.0.0.13:1883, backup: true }';
    const config = pool(`backends: [${backends}]`);
    const { bound } = finding(look({ machine: 'vm-6.18', config, connections: MILLION }), ports);
    assert.equal(bound, Math.floor((28_232 * 4) / 3));
  });

  test('pools with the same backends share the ports', () => {
    const config =
      'listeners: [{ bind: 0.0.0.0:1883, pool: a }]\npools: { a: { backends: [b:1] }, c: { backends: [b:1] } }\n';
    assert.equal(finding(look({ machine: 'vm-6.18', config, connections: MILLION }), ports).bound, 28_232);
  });

  test('what conntrack has room for counts only where something is tracked', () => {
    const tracked = finding(look({ machine: 'container', connections: MILLION }), 'net.netfilter.nf_conntrack_max');
    assert.deepEqual([tracked.verdict, tracked.bound], ['bounds', (262_144 - 1204) / 2]);
    assert.deepEqual(tracked.mend, ['sysctl -w net.netfilter.nf_conntrack_max=2001204']);
    const idle = finding(look({ machine: 'vm-6.18', connections: MILLION }), 'net.netfilter.nf_conntrack_max');
    assert.deepEqual([idle.verdict, idle.bound], ['ok', null]);
    assert.match(idle.found, /nothing is tracked$/);
  });

  test('queues, TIME_WAIT and bbr are hints, which bound nothing', () => {
    const hints = look({ machine: 'vm-6.18', config: BROKERS, connections: 19_000 }).checks.flatMap(
      ({ verdict, mend }) => (verdict === 'ok' ? mend : []),
    );
    assert.deepEqual(hints, [
      'sysctl -w net.ipv4.tcp_tw_reuse=1',
      'sysctl -w net.core.somaxconn=9500',
      'sysctl -w net.ipv4.tcp_congestion_control=cubic',
    ]);
  });
});

describe('workers', () => {
  test('threads beyond what the control group allows keep them from starting', () => {
    const config = `workers: 101\n${BROKERS}`;
    const { verdict, mend } = finding(look({ machine: 'container', config }), 'tasks of the control group');
    assert.equal(verdict, 'fails');
    assert.match(mend[0]!, /^TasksMax=\d+$/);
    assert.match(mend[1]!, /^echo \d+ > \/sys\/fs\/cgroup\/pids\.max$/);
  });

  test('a core for each is needed only where the configuration says so', () => {
    const config = `workers: 101\n${BROKERS}`;
    assert.equal(finding(look({ machine: 'vm-6.18', config }), 'cores').verdict, 'ok');
    const pinned = finding(look({ machine: 'vm-6.18', config: `cpu_affinity: pin\n${config}` }), 'cores');
    assert.deepEqual([pinned.verdict, pinned.mend], ['fails', ['cpu_affinity: off']]);
  });
});

describe('the configuration', () => {
  test('says what is wanted where the command line does not', () => {
    const wanted = (config?: string) => look({ machine: 'vm-6.18', config }).connections;
    assert.deepEqual([wanted().wanted, wanted().source], [19_936, 'what 2 workers can hold']);
    assert.equal(wanted(`workers: 3\nconnections_max: 100\n${BROKERS}`).wanted, 300);
    const limited = BROKERS.replace('pool:', 'max_connections: 700, pool:');
    assert.deepEqual([wanted(limited).wanted, wanted(limited).source], [700, 'max_connections of the listeners']);
  });

  test('bounds what it limits itself', () => {
    const config = `connections_max: 100\n${BROKERS.replace('pool:', 'max_connections: 150, pool:')}`;
    const diagnosis = look({ machine: 'vm-6.18', config, connections: 1000 });
    assert.equal(finding(diagnosis, 'connections_max').bound, 200);
    assert.deepEqual(finding(diagnosis, 'connections_max').mend, ['connections_max: 500', 'connections_max: auto']);
    assert.equal(finding(diagnosis, 'max_connections of listeners').bound, 150);
    assert.equal(diagnosis.connections.bounded_by, 'max_connections of listeners');
  });

  test('does not start where its addresses are taken or privileged', () => {
    const addresses = ['EADDRINUSE', 'EACCES'].map((code, index) => {
      const address = `0.0.0.0:${883 + index * 1000}`;
      return { address, fault: bindError(code, address) };
    });
    const { verdict, found, mend } = finding(
      look({ machine: 'vm-6.18', config: BROKERS, trials: { addresses } }),
      'listening',
    );
    assert.equal(verdict, 'fails');
    assert.match(found, /the port is taken.*not permitted/);
    assert.deepEqual(mend, [
      "ss -ltnp 'sport = :883'   # shows which program to stop",
      'AmbientCapabilities=CAP_NET_BIND_SERVICE',
      'sysctl -w net.ipv4.ip_unprivileged_port_start=1883',
    ]);
  });
});

test('a server that was made ready for a million is found so', () => {
  const diagnosis = look({
    machine: 'bare-metal',
    config: SIXTEEN_BROKERS,
    connections: MILLION,
    trials: { cores: 64 },
  });
  assert.deepEqual(verdicts(diagnosis), {});
  assert.equal(diagnosis.connections.possible, MILLION);
  assert.equal(verdictLine(diagnosis), '1,000,000 connections: nothing here bounds them');
});

test('the files in deploy/ mend what a machine lacks for a million', async () => {
  const unit = await readFile(new URL('../deploy/systemd/tidegate.service', import.meta.url), 'utf8');
  const sysctls = await readFile(new URL('../deploy/sysctl.d/60-tidegate.conf', import.meta.url), 'utf8');
  const [, descriptors = ''] = /^LimitNOFILE=(\d+)$/m.exec(unit)!;
  const [, tasks = ''] = /^TasksMax=(\d+)$/m.exec(unit)!;
  assert.match(unit, /^LimitMEMLOCK=infinity$/m);
  const settings = [...sysctls.matchAll(/^-?([a-z_.0-9]+) = (.*)$/gm)].map(([, name = '', value = '']) => {
    return [`/proc/sys/${name.replaceAll('.', '/')}`, value] as const;
  });
  assert.ok(settings.length > 8);
  const changes = {
    ...Object.fromEntries(settings),
    '/proc/self/limits': ['Max processes', 'Max open files', 'Max locked memory']
      .map((name, index) => limits(name, ['unlimited', descriptors, 'unlimited'][index]!))
      .join('\n'),
    '/sys/fs/cgroup/system.slice/tidegate.service/pids.max': tasks,
    '/sys/fs/cgroup/system.slice/memory.max': 'max',
    '/proc/meminfo': 'MemAvailable: 33554432 kB',
    '/proc/sys/kernel/osrelease': '6.18.3',
  };
  const diagnosis = look({ machine: 'debian-12', changes, config: SIXTEEN_BROKERS, connections: MILLION });
  assert.deepEqual(verdicts(diagnosis), {});
  assert.deepEqual(
    diagnosis.checks.flatMap(({ mend }) => mend),
    [],
  );
});

test('every fault comes with a line that mends it', () => {
  for (const machine of ['vm-6.18', 'debian-12', 'container']) {
    const diagnosis = look({ machine, config: BROKERS, connections: 100 * MILLION });
    for (const { name, verdict, mend } of diagnosis.checks) assert.ok(verdict === 'ok' || mend.length > 0, name);
    for (const { name, mend } of diagnosis.checks)
      if (mend.length > 0) assert.ok(diagnosisText(diagnosis).includes(mend[0]!), name);
  }
});

test('a machine without /proc can not be looked at', () => {
  assert.throws(
    () => readMachine(() => ''),
    (error: TidegateError) => error.exitCode === 2 && /can not be read/.test(error.message),
  );
});

const CLI = 'src/cli.ts';
const linux = process.platform === 'linux' ? undefined : 'doctor is for Linux';

function doctor(...args: string[]): Promise<Ended> {
  return runProgram(CLI, ['doctor', ...args]);
}

async function configFile(context: TestContext, text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-doctor-'));
  context.after(() => rm(folder, { recursive: true }));
  const file = join(folder, 'tidegate.yaml');
  await writeFile(file, text);
  return file;
}

describe('the command', { concurrency: 2 }, () => {
  test('looks at this machine, and says by its exit code whether all is well', async (context) => {
    if (!requires(context, linux)) return;
    const { code, stdout, stderr } = await doctor('--json', '--connections', '100000000');
    assert.deepEqual([code, stderr], [1, '']);
    const diagnosis = JSON.parse(stdout) as Diagnosis;
    assert.equal(diagnosis.connections.wanted, 100_000_000);
    assert.equal(diagnosis.workers, availableParallelism());
    const hard = new Intl.NumberFormat('en').format(getrlimit(RLIMIT_NOFILE).hard);
    assert.ok(finding(diagnosis, 'RLIMIT_NOFILE').found.startsWith(hard));
    assert.equal(finding(diagnosis, 'RLIMIT_NOFILE').verdict, 'bounds');
    assert.ok(diagnosis.connections.possible < 100_000_000);
  });

  test('says the same in words, the verdict first', async (context) => {
    if (!requires(context, linux)) return;
    const { code, stdout, stderr } = await doctor('--connections', '100000000');
    assert.deepEqual([code, stderr], [1, '']);
    const lines = stdout.split('\n');
    assert.match(lines[0]!, /^100,000,000 connections: .*bounded to [\d,]+ by \S+/);
    assert.match(lines[1]!, /^Engine (uring|portable), \d+ workers\.$/);
    for (const heading of ['CHECK', 'TO MEND'])
      assert.ok(
        lines.some((line) => line.startsWith(heading)),
        stdout,
      );
  });

  test('finds nothing in the way of ten connections to a free port', async (context) => {
    if (!requires(context, linux)) return;
    const file = await configFile(
      context,
      'listeners: [{ bind: 127.0.0.1:0, pool: a }]\npools: { a: { backends: [127.0.0.1:1] } }\nadmin: off\n',
    );
    const { code, stdout } = await doctor('--config', file, '--connections', '10');
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^10 connections: nothing here bounds them\n/);
  });

  test('finds room for as many connections as a start does', async (context) => {
    if (!requires(context, linux)) return;
    const file = await configFile(
      context,
      'workers: 3\nlisteners: [{ bind: 127.0.0.1:0, pool: a }]\npools: { a: { backends: [127.0.0.1:1] } }\nadmin: off\n',
    );
    const program = new Program(CLI, ['run', '--config', file]);
    context.after(() => program.kill());
    const [, connectionsMax] = await program.printed('stderr', /"connectionsMax":(\d+)/);
    const { connections } = JSON.parse((await doctor('--config', file, '--json')).stdout) as Diagnosis;
    assert.equal(connections.wanted, 3 * Number(connectionsMax));
  });

  test('names the port that another program has, and the source address that nobody has', async (context) => {
    if (!requires(context, linux)) return;
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    context.after(() => server.close());
    const { port } = server.address() as AddressInfo;
    const file = await configFile(
      context,
      `listeners: [{ bind: 127.0.0.1:${port}, pool: a }]\nadmin: off\n` +
        'pools: { a: { backends: [10.0.0.1:1], source_addresses: [192.0.2.77] } }\n',
    );
    const { code, stdout } = await doctor('--config', file, '--connections', '10', '--json');
    assert.equal(code, 1);
    const diagnosis = JSON.parse(stdout) as Diagnosis;
    assert.deepEqual(verdicts(diagnosis), { listening: 'fails', backends: 'fails' });
    assert.match(finding(diagnosis, 'listening').found, /the port is taken/);
    assert.match(finding(diagnosis, 'backends').found, /192\.0\.2\.77/);
    assert.match(finding(diagnosis, 'backends').mend[0]!, /no such address; add it/);
  });

  test('takes no offence at the Tidegate of this configuration, which has its ports already', async (context) => {
    if (!requires(context, linux)) return;
    const { port, tidegate } = await startAdministered(context);
    const bind = `127.0.0.1:${port}`;
    const file = await configFile(
      context,
      `listeners: [{ bind: "${bind}", pool: a }]\nadmin: { bind: 127.0.0.1:${tidegate.admin!.port} }\n` +
        'pools: { a: { backends: [127.0.0.1:1] } }\n',
    );
    const { code, stdout } = await doctor('--config', file, '--connections', '10', '--json');
    assert.equal(code, 0, stdout);
    assert.equal(finding(JSON.parse(stdout), 'listening').verdict, 'ok');
  });

  test('what is wrong with the command line or the configuration is said as for every command', async (context) => {
    for (const count of ['0', '-1', '1e6', 'many']) {
      const { code, stderr } = await doctor(`--connections=${count}`);
      assert.deepEqual([code, stderr], [1, `tidegate: --connections takes a number of connections, not "${count}"\n`]);
    }
    const { code, stderr } = await doctor('--config', await configFile(context, 'wokers: 2\n'));
    assert.equal(code, 1);
    assert.match(stderr, /wokers: unknown key, did you mean workers\?/);
  });

  test('says so where it is not on Linux', async () => {
    const elsewhere = 'data:text/javascript,Object.defineProperty(process,"platform",{value:"darwin"})';
    const program = new Program(CLI, ['doctor'], { node: ['--import', elsewhere] });
    const { code, stdout, stderr } = await program.ended();
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /^tidegate: doctor knows Linux, and this is darwin: /);
  });
});
