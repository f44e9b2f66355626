import { readFileSync } from 'node:fs'
import { type LinuxNet, OWN_NETNS, processCpuMs } from '@cni-offload/linux'
import { type ProcessCost, Spawner } from './spawner.ts'

/** What the sampler needs to know. */
export interface SampleInput {
  /** Counted rounds. */
  readonly iterations: number
  /** Rounds before them. */
  readonly warmup: number
  /** The compiled shim. */
  readonly shim: string
  /** Variables that it needs. */
  readonly env: Readonly<Record<string, string>>
  /** Netconf file for the shim. */
  readonly netconf: string
  /** Host daemon, whose CPU time belongs to ours. */
  readonly daemonPid: number
  /** Namespace of the pod. */
  readonly pod: string
  /** Folder for the Go plugins' address records and for what processes read and print. */
  readonly dir: string
}

/** All samples of a run by contender and verb. */
export type Samples = Readonly<
  Record<
    | 'true'
    | 'shimVersion'
    | 'shimAdd'
    | 'oursAdd'
    | 'oursDel'
    | 'hostDeviceAdd'
    | 'hostDeviceDel'
    | 'bridgeAdd'
    | 'bridgeDel'
    | 'moveIn'
    | 'moveBack',
    ProcessCost[]
  >
>

const CNI_BIN = '/usr/lib/cni'

/**
 * Takes turns: in every round each contender adds and removes one pod interface, so that all see the same machine at the
 * same time. Runs in the host's namespace.
 */
export async function takeSamples(net: LinuxNet, input: SampleInput): Promise<Samples> {
  await net.apply(OWN_NETNS, [
    { op: 'link.add-veth', dev: 'bench-hd', peer: { name: 'bench-hdp' } },
    { op: 'link.add-veth', dev: 'bench-mv', peer: { name: 'bench-mvp' } },
    { op: 'link.set', dev: 'bench-hdp', up: true },
  ])
  // The Go plugins would wait a second and more for duplicate address detection, and a comparison that counts waiting says nothing.
  await net.apply(input.pod, [{ op: 'sysctl', key: 'net.ipv6.conf.default.accept_dad', value: '0' }])
  const samples: Samples = {
    true: [],
    shimVersion: [],
    shimAdd: [],
    oursAdd: [],
    oursDel: [],
    hostDeviceAdd: [],
    hostDeviceDel: [],
    bridgeAdd: [],
    bridgeDel: [],
    moveIn: [],
    moveBack: [],
  }
  const spawner = new Spawner(input.dir)
  const ours = readFileSync(input.netconf, 'utf8')
  for (let round = -input.warmup; round < input.iterations; round++) {
    const keep = (name: keyof Samples, sample: ProcessCost): number => (round < 0 ? 0 : samples[name].push(sample))
    const call = (executable: string, verb: string, stdin: string, env = {}): ProcessCost =>
      cni(spawner, executable, verb, input.pod, `bench${round + input.warmup}`, stdin, env)
    keep('true', spawner.run('/bin/true', {}, ''))
    keep('shimVersion', call(input.shim, 'VERSION', '', input.env))
    await settle(net, input.pod)
    const daemonBefore = await processCpuMs(input.daemonPid)
    const add = call(input.shim, 'ADD', ours, input.env)
    const daemonAfterAdd = await processCpuMs(input.daemonPid)
    const del = call(input.shim, 'DEL', ours, input.env)
    keep('shimAdd', add)
    keep('oursAdd', { ms: add.ms, cpuMs: add.cpuMs + daemonAfterAdd - daemonBefore })
    keep('oursDel', { ms: del.ms, cpuMs: del.cpuMs + (await processCpuMs(input.daemonPid)) - daemonAfterAdd })
    await settle(net, input.pod)
    const hostDevice = goNetconf('host-device', { device: 'bench-hd' }, input.dir)
    keep('hostDeviceAdd', call(`${CNI_BIN}/host-device`, 'ADD', hostDevice))
    keep('hostDeviceDel', call(`${CNI_BIN}/host-device`, 'DEL', hostDevice))
    await settle(net, input.pod)
    const bridge = goNetconf('bridge', { bridge: 'bench-br', isGateway: true }, input.dir)
    keep('bridgeAdd', call(`${CNI_BIN}/bridge`, 'ADD', bridge))
    keep('bridgeDel', call(`${CNI_BIN}/bridge`, 'DEL', bridge))
    await settle(net, input.pod)
    keep('moveIn', await timed(() => net.apply(OWN_NETNS, [{ op: 'link.move', dev: 'bench-mv', netns: input.pod, name: 'eth0' }])))
    keep('moveBack', await timed(() => net.apply(input.pod, [{ op: 'link.move', dev: 'eth0', netns: OWN_NETNS, name: 'bench-mv' }])))
  }
  return samples
}

/** A move that nobody counts waits for what the contender before left to the kernel to clean up later. */
async function settle(net: LinuxNet, pod: string): Promise<void> {
  await net.apply(OWN_NETNS, [{ op: 'link.move', dev: 'bench-mv', netns: pod, name: 'settle0' }])
  await net.apply(pod, [{ op: 'link.move', dev: 'settle0', netns: OWN_NETNS, name: 'bench-mv' }])
}

/** host-device and bridge assign what ours assigns: an address and a default route of each family. */
function goNetconf(type: string, fields: object, dataDir: string): string {
  return JSON.stringify({
    cniVersion: '1.0.0',
    name: `bench-${type}`,
    type,
    ...fields,
    ipam: {
      type: 'host-local',
      dataDir,
      ranges: [
        [{ subnet: type === 'bridge' ? '10.251.0.0/24' : '10.250.0.0/24' }],
        [{ subnet: type === 'bridge' ? 'fd00:251::/64' : 'fd00:250::/64' }],
      ],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
    },
  })
}

function cni(
  spawner: Spawner,
  executable: string,
  verb: string,
  netns: string,
  containerId: string,
  stdin: string,
  env: Readonly<Record<string, string>>,
): ProcessCost {
  const variables = {
    CNI_COMMAND: verb,
    CNI_CONTAINERID: containerId,
    CNI_NETNS: netns,
    CNI_IFNAME: 'eth0',
    CNI_PATH: CNI_BIN,
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    ...env,
  }
  return spawner.run(executable, variables, stdin)
}

async function timed(action: () => Promise<void>): Promise<ProcessCost> {
  const started = performance.now()
  await action()
  return { ms: performance.now() - started, cpuMs: 0 }
}
