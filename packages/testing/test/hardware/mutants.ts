import {
  type DpuDevice,
  formatVfId,
  type HostDevice,
  OffloadError,
  type OpContext,
  type PortRef,
  type VfAdminSetting,
  type VfAdminSettings,
  type VfId,
  type VfSettings,
  type VirtualFunction,
} from '@cni-offload/sdk'
import type { LinkTraits } from '@cni-offload/linux'
import { addAltName } from '../../src/hardware/helpers.ts'
import type { HardwareFixture } from '../../src/hardware/index.ts'

/** Breaks a sound backend in one way. */
export type Mutation = (sound: HardwareFixture) => HardwareFixture

const later = (): OpContext['signal'] => AbortSignal.timeout(20_000)

/** A host half with some methods replaced; the others are the sound ones. */
function withHost(replace: (host: HostDevice, fixture: HardwareFixture) => Partial<HostDevice>): Mutation {
  return (sound) => {
    const broken = (host: HostDevice): HostDevice => ({
      name: host.name,
      specVersion: host.specVersion,
      discover: (ctx) => host.discover(ctx),
      acquire: (vf, want, ctx) => host.acquire(vf, want, ctx),
      configure: async (vf, settings, ctx) => await host.configure?.(vf, settings, ctx),
      deviations: async (vf, settings, ctx) => (await host.deviations?.(vf, settings, ctx)) ?? [],
      release: (vf, from, ctx) => host.release(vf, from, ctx),
      watch: (signal) => host.watch(signal),
      ...replace(host, sound),
    })
    return { ...sound, host: broken(sound.host), restartHost: async () => broken(await sound.restartHost()) }
  }
}

function withDpu(replace: (dpu: DpuDevice) => Partial<DpuDevice>): Mutation {
  return (sound) => {
    const { dpu } = sound
    return {
      ...sound,
      dpu: {
        name: dpu.name,
        specVersion: dpu.specVersion,
        start: (signal) => dpu.start(signal),
        ports: (ctx) => dpu.ports(ctx),
        port: (vf, ctx) => dpu.port(vf, ctx),
        watch: (signal) => dpu.watch(signal),
        ...replace(dpu),
      },
    }
  }
}

const nameOf = (vf: VfId): string => `${vf.device}v${vf.index}`
/** A backend that tells something else of its functions. */
const discovers = (told: (vf: VirtualFunction) => VirtualFunction): Mutation =>
  withHost((host) => ({ discover: async (ctx) => (await host.discover(ctx)).map(told) }))

const lost = (message: string): OffloadError => new OffloadError('HARDWARE_FAILURE', message)

/** A map of ports where each function has the port of its neighbour: still a bijection. */
const shiftedPorts = withDpu((dpu) => {
  const ports = async (ctx: OpContext): Promise<PortRef[]> => {
    const sound = await dpu.ports(ctx)
    return sound.map(({ vf }, index) => ({ vf, name: sound[(index + 1) % sound.length]!.name }))
  }
  return { ports, port: async (vf, ctx) => (await ports(ctx)).find((port) => formatVfId(port.vf) === formatVfId(vf)) ?? dpu.port(vf, ctx) }
})

const ignoresAbort = withHost((host) => ({
  discover: (ctx) => host.discover({ ...ctx, signal: later() }),
  acquire: (vf, want, ctx) => host.acquire(vf, want, { ...ctx, signal: later() }),
  release: (vf, from, ctx) => host.release(vf, from, { ...ctx, signal: later() }),
}))

const TRAITS: readonly (keyof LinkTraits)[] = [
  'arp',
  'multicast',
  'promiscuous',
  'allMulticast',
  'linkMode',
  'txQueueLength',
  'group',
  'broadcast',
]

/** One mutant per trait, which comes back to the host as the pod left it. */
const leavesTraits = Object.fromEntries(
  TRAITS.map((trait): [string, Mutation] => [
    `leaves ${trait}`,
    withHost((host, { net, hostNetns }) => ({
      async release(vf, from, ctx) {
        const left = (await net.link(from.netns ?? hostNetns, from.ifName ?? nameOf(vf)))?.traits
        await host.release(vf, from, ctx)
        if (left !== undefined) await net.apply(hostNetns, [{ op: 'link.set', dev: nameOf(vf), traits: { [trait]: left[trait] } }])
      },
    })),
  ]),
)

/** Offers other settings than it makes. */
const offers = (change: (admin: readonly VfAdminSetting[]) => readonly VfAdminSetting[]): Mutation =>
  withHost((host) => ({
    discover: async (ctx) =>
      (await host.discover(ctx)).map((vf) => ({ ...vf, capabilities: { ...vf.capabilities, admin: change(vf.capabilities.admin ?? []) } })),
  }))

/** Comes out of a release with settings that are not those of before. @param what - what is left, of what there was before the release */
const leavesSettings = (what: (was: VfAdminSettings) => VfAdminSettings): Mutation =>
  withHost((host, sound) => ({
    async release(vf, from, ctx) {
      const { mac: _mac, ...was } = (await sound.enforced?.(vf)) ?? {}
      await host.release(vf, from, ctx)
      await host.configure?.(vf, what(was), ctx)
    },
  }))

/** Broken backends by the id of the case that must notice. */
export const hardwareMutants: Readonly<Record<string, Readonly<Record<string, Mutation>>>> = {
  'discover.complete': {
    'forgets a function': withHost((host) => ({ discover: async (ctx) => (await host.discover(ctx)).slice(1) })),
    'gives all the same MAC': withHost((host) => ({
      discover: async (ctx) => (await host.discover(ctx)).map((vf) => ({ ...vf, mac: '02:00:00:00:00:01' })),
    })),
  },
  'discover.stable': {
    'reorders each time': withHost((host) => {
      let calls = 0
      return { discover: async (ctx) => ((calls += 1) % 2 === 0 ? (await host.discover(ctx)).toReversed() : host.discover(ctx)) }
    }),
  },
  'discover.in-pod': {
    'names a netdev that is not there': withHost((host) => ({
      discover: async (ctx) => (await host.discover(ctx)).map((vf) => ({ ...vf, netdev: nameOf(vf.id) })),
    })),
    'forgets functions in pods': withHost((host) => ({
      discover: async (ctx) => (await host.discover(ctx)).filter(({ netdev }) => netdev !== undefined),
    })),
  },
  'acquire.settings': {
    'answers what was wanted without doing it': withHost((host) => ({
      acquire: async (vf, want, ctx) => ({
        ...(await host.acquire(vf, {}, ctx)),
        ...(want.mac === undefined ? {} : { mac: want.mac }),
        ...(want.mtu === undefined ? {} : { mtu: want.mtu }),
      }),
    })),
    'answers the state of before': withHost((host) => ({
      acquire: async (vf, want, ctx) => {
        const before = await host.acquire(vf, {}, ctx)
        await host.acquire(vf, want, ctx)
        return before
      },
    })),
    'answers another largest MTU than discover': withHost((host) => ({
      acquire: async (vf, want, ctx) => ({ ...(await host.acquire(vf, want, ctx)), maxMtu: 68 }),
    })),
  },
  'acquire.leaves-rest': {
    'sets an MTU of its own': withHost((host) => ({ acquire: (vf, want, ctx) => host.acquire(vf, { mtu: 1400, ...want }, ctx) })),
  },
  'acquire.silent': {
    'brings it up': withHost((host, { net, hostNetns }) => ({
      async acquire(vf, want, ctx) {
        const netdev = await host.acquire(vf, want, ctx)
        await net.apply(hostNetns, [{ op: 'link.set', dev: netdev.name, up: true }])
        return netdev
      },
    })),
    'leaves addresses': withHost((host, { net, hostNetns }) => ({
      async acquire(vf, want, ctx) {
        const addresses = await net.addresses(hostNetns, nameOf(vf))
        const netdev = await host.acquire(vf, want, ctx)
        await net.apply(
          hostNetns,
          addresses.map((address) => ({ op: 'addr.add' as const, dev: netdev.name, address })),
        )
        return netdev
      },
    })),
  },
  'acquire.traits': {
    'leaves traits': withHost((host, { net, hostNetns }) => ({
      async acquire(vf, want, ctx) {
        const left = (await net.link(hostNetns, nameOf(vf)))?.traits
        const netdev = await host.acquire(vf, want, ctx)
        await net.apply(hostNetns, [{ op: 'link.set', dev: netdev.name, ...(left === undefined ? {} : { traits: left }) }])
        return netdev
      },
    })),
    'leaves alternative names': withHost((host, { net, hostNetns }) => ({
      async acquire(vf, want, ctx) {
        const left = (await net.link(hostNetns, nameOf(vf)))?.altNames ?? []
        const netdev = await host.acquire(vf, want, ctx)
        for (const name of left) await addAltName(hostNetns, netdev.name, name)
        return netdev
      },
    })),
  },
  'acquire.impossible-setting': {
    'does not look whether it stuck': withHost((host) => ({
      acquire: async (vf, want: VfSettings, ctx) => host.acquire(vf, want, ctx).catch(async () => host.acquire(vf, {}, ctx)),
    })),
    'speaks of the kernel': withHost((host) => ({
      acquire: (vf, want, ctx) =>
        host.acquire(vf, want, ctx).catch((cause: unknown) => {
          throw new OffloadError('KERNEL_REFUSED', 'EADDRNOTAVAIL', { cause })
        }),
    })),
  },
  'acquire.excessive-mtu': {
    'clamps silently': withHost((host) => ({
      discover: async (ctx) => (await host.discover(ctx)).map((vf) => ({ ...vf, capabilities: { ...vf.capabilities, maxMtu: 9000 } })),
      acquire: (vf, want, ctx) => host.acquire(vf, { ...want, ...(want.mtu === undefined ? {} : { mtu: Math.min(want.mtu, 9000) }) }, ctx),
    })),
  },
  'acquire.unknown': {
    'accepts a release of nothing': withHost((host) => ({
      release: async (vf, from, ctx) => (vf.index > 1000 ? undefined : host.release(vf, from, ctx)),
    })),
    'maps by arithmetic': withDpu((dpu) => ({
      port: async (vf, ctx) => dpu.port(vf, ctx).catch(() => ({ vf, name: `${vf.device}p${vf.index}` })),
    })),
  },
  'configure.refused': {
    'accepts whatever comes': withHost((host) => ({ configure: async (...args) => await host.configure!(...args).catch(() => {}) })),
    'does not say what it refuses': withHost((host) => ({
      configure: (...args) =>
        host.configure!(...args).catch(() => {
          throw lost('no')
        }),
    })),
    'offers the same twice': offers((admin) => [...admin, ...admin]),
  },
  'configure.makes': {
    pretends: withHost(() => ({ configure: async () => {}, deviations: async () => [] })),
    'makes them and says that nothing is': withHost(() => ({ deviations: async () => ['all is wrong'] })),
    'makes them and does not look': withHost(() => ({ deviations: async () => [] })),
    'makes them once': withHost((host) => {
      const made = new Set<number>()
      return {
        async configure(vf, ...args) {
          if (made.has(vf.index)) return
          made.add(vf.index)
          await host.configure!(vf, ...args)
        },
      }
    }),
    'makes them of all functions': withHost((host, { vfs }) => ({
      configure: async (_vf, ...args) => {
        for (const vf of vfs) await host.configure!(vf, ...args)
      },
    })),
    'forgets to have configure': (sound) => ({ ...sound, host: { ...sound.host, configure: undefined } as unknown as HostDevice }),
  },
  'configure.alone': {
    'resets the others': withHost((host) => ({
      configure: async (vf, settings, ctx) => await host.configure!(vf, { trust: false, spoofCheck: false, ...settings }, ctx),
    })),
  },
  'configure.twice': {
    'complains about the second': withHost((host) => ({
      async configure(vf, settings, ctx) {
        if ((await host.deviations!(vf, settings, ctx)).length === 0) throw lost('it is so already')
        await host.configure!(vf, settings, ctx)
      },
    })),
    'remembers the state before the last time': withHost((host, { enforced }) => {
      const before = new Map<number, VfAdminSettings>()
      return {
        async configure(vf, ...args) {
          const { mac: _mac, ...was } = await enforced!(vf)
          before.set(vf.index, was)
          await host.configure!(vf, ...args)
        },
        async release(vf, from, ctx) {
          await host.release(vf, from, ctx)
          await host.configure!(vf, before.get(vf.index) ?? {}, ctx)
        },
      }
    }),
    'does something where nothing is asked for': withHost((host) => ({
      configure: async (vf, settings, ctx) =>
        await host.configure!(vf, Object.keys(settings).length === 0 ? { linkState: 'disable' } : settings, ctx),
    })),
  },
  'configure.in-pod': {
    'looks for the netdev at home': withHost((host, { net, hostNetns }) => ({
      async configure(vf, settings, ctx) {
        if ((await net.link(hostNetns, nameOf(vf))) === undefined) throw lost('it is away')
        await host.configure!(vf, settings, ctx)
      },
    })),
    'leaves them': leavesSettings((was) => was),
    'leaves one of them': leavesSettings(({ vlan }) => (vlan === undefined ? {} : { vlan })),
  },
  'configure.after-restart': {
    'remembers in memory only': withHost((host, { enforced }) => {
      const known = new Set<number>()
      return {
        async configure(vf, ...args) {
          known.add(vf.index)
          await host.configure!(vf, ...args)
        },
        async release(vf, from, ctx) {
          const { mac: _mac, ...was } = await enforced!(vf)
          await host.release(vf, from, ctx)
          if (!known.has(vf.index)) await host.configure!(vf, was, ctx)
        },
      }
    }),
    'offers nothing any more': (sound) => ({
      ...sound,
      restartHost: async () => offers((admin) => admin.slice(1))({ ...sound, host: await sound.restartHost() }).host,
    }),
  },
  'programs.told': {
    'calls it unhealthy': discovers((vf) => (vf.userspace === undefined ? vf : { ...vf, health: 'unhealthy' })),
    'does not say so': discovers(({ userspace: _driver, ...vf }) => vf),
    'names an interface': discovers((vf) => (vf.userspace === undefined ? vf : { ...vf, netdev: nameOf(vf.id) })),
    'gives one out': withHost((host) => ({
      acquire: async (vf, ...rest) =>
        await host.acquire(vf, ...rest).catch((error: unknown) => {
          if (OffloadError.from(error).message.includes('no interface')) return { name: nameOf(vf), mac: '02:00:00:00:00:00', mtu: 1500 }
          throw error
        }),
    })),
  },
  'programs.release': {
    'wants an interface back': withHost((host) => ({
      async release(vf, from, ctx) {
        const found = (await host.discover(ctx)).find(({ id }) => formatVfId(id) === formatVfId(vf))
        if (found?.userspace !== undefined) throw lost('it has no interface')
        await host.release(vf, from, ctx)
      },
    })),
    'leaves its settings': withHost((host) => ({
      async release(vf, from, ctx) {
        const found = (await host.discover(ctx)).find(({ id }) => formatVfId(id) === formatVfId(vf))
        if (found?.userspace === undefined) await host.release(vf, from, ctx)
      },
    })),
  },
  'release.pristine': {
    'leaves it in the pod': withHost(() => ({ release: async () => {} })),
    'leaves the MTU': withHost((host, { net, hostNetns }) => ({
      async release(vf, from, ctx) {
        await host.release(vf, from, ctx)
        await net.apply(hostNetns, [{ op: 'link.set', dev: nameOf(vf), mtu: 1400 }])
      },
    })),
    'leaves the MAC': withHost((host, { net, hostNetns }) => ({
      async release(vf, from, ctx) {
        await host.release(vf, from, ctx)
        await net.apply(hostNetns, [{ op: 'link.set', dev: nameOf(vf), mac: '02:c0:ff:ee:01:00' }])
      },
    })),
    'leaves it up': withHost((host, { net, hostNetns }) => ({
      async release(vf, from, ctx) {
        await host.release(vf, from, ctx)
        await net.apply(hostNetns, [{ op: 'link.set', dev: nameOf(vf), up: true }])
      },
    })),
  },
  'release.reusable': {
    'can be used once': withHost((host) => {
      const used = new Set<number>()
      return {
        async acquire(vf, want, ctx) {
          if (used.has(vf.index)) throw lost('used up')
          used.add(vf.index)
          return host.acquire(vf, want, ctx)
        },
      }
    }),
  },
  'release.traits': {
    ...leavesTraits,
    'leaves them at home': withHost((host, { net, hostNetns }) => ({
      async release(vf, from, ctx) {
        const left = (await net.link(hostNetns, nameOf(vf)))?.traits
        await host.release(vf, from, ctx)
        if (left !== undefined) await net.apply(hostNetns, [{ op: 'link.set', dev: nameOf(vf), traits: left }])
      },
    })),
  },
  'release.alt-names': {
    'leaves them': withHost((host, { net, hostNetns }) => ({
      async release(vf, from, ctx) {
        const left = (await net.link(from.netns ?? '', from.ifName ?? ''))?.altNames ?? []
        await host.release(vf, from, ctx)
        for (const name of left) if (name === 'hwkalias') await addAltName(hostNetns, nameOf(vf), name)
      },
    })),
    'gives up when a function has the name of another': withHost((host, { net, hostNetns }) => ({
      async release(vf, from, ctx) {
        const left = (await net.link(from.netns ?? '', from.ifName ?? ''))?.altNames ?? []
        for (const name of left) if ((await net.link(hostNetns, name)) !== undefined) throw lost(`${name} is taken`)
        await host.release(vf, from, ctx)
      },
    })),
  },
  'release.twice': {
    'complains about the second': withHost((host) => {
      const done = new Set<number>()
      return {
        async release(vf, from, ctx) {
          if (done.has(vf.index)) throw lost('already released')
          done.add(vf.index)
          await host.release(vf, from, ctx)
        },
      }
    }),
  },
  'release.never-acquired': {
    'complains about the missing namespace': withHost((host) => ({
      async release(vf, from, ctx) {
        if (from.netns?.includes('never-existed') === true) throw lost('no such namespace')
        await host.release(vf, from, ctx)
      },
    })),
  },
  'release.not-moved': {
    'does nothing at home': withHost((host, { net, hostNetns }) => ({
      release: async (vf, from, ctx) => ((await net.link(hostNetns, nameOf(vf))) === undefined ? host.release(vf, from, ctx) : undefined),
    })),
  },
  'release.renamed-at-home': {
    'looks by name only': withHost((host, { net, hostNetns }) => ({
      async release(vf, from, ctx) {
        if ((await net.link(hostNetns, nameOf(vf))) === undefined && from.netns === undefined) throw lost('gone')
        await host.release(vf, from, ctx)
      },
    })),
  },
  'release.renamed': {
    'takes whatever has the name': withHost((_host, { net, hostNetns }) => ({
      async release(vf, { netns, ifName }) {
        if (netns !== undefined && ifName !== undefined)
          await net.apply(netns, [
            { op: 'link.set', dev: ifName, up: false },
            { op: 'link.move', dev: ifName, netns: hostNetns, name: nameOf(vf) },
          ])
      },
    })),
    'looks by name only': withHost((host, { net }) => ({
      async release(vf, from, ctx) {
        if (from.netns !== undefined && (await net.link(from.netns, from.ifName ?? ''))?.kind !== 'veth') throw lost('gone')
        await host.release(vf, from, ctx)
      },
    })),
  },
  'release.netns-gone': {
    'gives up': withHost((host, { net }) => ({
      async release(vf, from, ctx) {
        if (from.netns !== undefined && (await net.netnsIdentity(from.netns)) === undefined) throw lost('gone')
        await host.release(vf, from, ctx)
      },
    })),
    pretends: withHost((host, { net }) => ({
      release: async (vf, from, ctx) =>
        from.netns !== undefined && (await net.netnsIdentity(from.netns)) === undefined ? undefined : host.release(vf, from, ctx),
    })),
  },
  'release.after-restart': {
    'knows only what it acquired itself': withHost((host) => {
      const own = new Set<number>()
      return {
        async acquire(vf, want, ctx) {
          own.add(vf.index)
          return host.acquire(vf, want, ctx)
        },
        release: async (vf, from, ctx) => (own.has(vf.index) ? host.release(vf, from, ctx) : undefined),
      }
    }),
  },
  'release.name-taken': {
    'removes the stranger': withHost((host, { net, hostNetns }) => ({
      async release(vf, from, ctx) {
        if ((await net.link(hostNetns, nameOf(vf)))?.kind === 'bridge') await net.apply(hostNetns, [{ op: 'link.del', dev: nameOf(vf) }])
        await host.release(vf, from, ctx)
      },
    })),
    'takes the stranger for it': withHost((host, { net, hostNetns }) => ({
      release: async (vf, from, ctx) => ((await net.link(hostNetns, nameOf(vf))) === undefined ? host.release(vf, from, ctx) : undefined),
    })),
  },
  'ports.bijection': {
    'gives two functions one port': withDpu((dpu) => ({
      ports: async (ctx) => (await dpu.ports(ctx)).map((port, index, all) => (index === 1 ? { ...port, name: all[0]!.name } : port)),
    })),
    'forgets a port': withDpu((dpu) => ({ ports: async (ctx) => (await dpu.ports(ctx)).slice(1) })),
    'names ports that do not exist': withDpu((dpu) => ({
      ports: async (ctx) => (await dpu.ports(ctx)).map((port) => ({ ...port, name: `${port.name}x` })),
      port: async (vf, ctx) => ({ vf, name: `${(await dpu.port(vf, ctx)).name}x` }),
    })),
  },
  'ports.to-dpu': { 'maps each function to the port of its neighbour': shiftedPorts },
  'ports.to-host': { 'maps each function to the port of its neighbour': shiftedPorts },
  'concurrency.all': {
    'can do one thing at a time': withHost((host) => {
      let busy = false
      return {
        async acquire(vf, want, ctx) {
          if (busy) throw lost('busy')
          busy = true
          try {
            return await host.acquire(vf, want, ctx)
          } finally {
            busy = false
          }
        },
      }
    }),
  },
  'abort.refused': { 'ignores the signal': ignoresAbort },
  'watch.ends': {
    'reports a loss that is none': withHost((host) => ({
      async *watch(signal) {
        yield { kind: 'device-lost', device: 'soft0', reason: 'made up' }
        yield* host.watch(signal)
      },
    })),
    'never ends': withDpu(() => ({ watch: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) }) })),
  },
  'watch.aborted-before': {
    'reports before it looks at the signal': withDpu((dpu) => ({
      async *watch(signal) {
        yield { kind: 'device-back', device: 'soft0' }
        yield* dpu.watch(signal)
      },
    })),
  },
}
