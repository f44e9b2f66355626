import {
  type AttachmentKey,
  type AttachResult,
  type CniAdapter,
  formatAttachmentKey,
  OffloadError,
  type OpContext,
  type RememberedAttachment,
  silentLogger,
} from '@cni-offload/sdk'
import type { AdapterFixture } from '../../src/adapter/index.ts'
import type { SoundFixture } from './sound-fixture.ts'

/** Breaks a sound adapter in one way. */
export type Mutation = (sound: SoundFixture) => AdapterFixture

/** Replaces methods of the adapter; the others are the sound ones. `replace` is called once per fixture and instance. */
function broken(replace: (adapter: CniAdapter, fixture: SoundFixture, instance: number) => Partial<CniAdapter>): Mutation {
  return (sound) => {
    let instance = 0
    return {
      ...sound,
      async create(): Promise<CniAdapter> {
        const adapter = await sound.create()
        instance += 1
        return {
          name: adapter.name,
          specVersion: adapter.specVersion,
          capabilities: adapter.capabilities,
          start: async (ports, ctx, known) => adapter.start?.(ports, ctx, known),
          attach: (req, ctx) => adapter.attach(req, ctx),
          detach: (req, ctx) => adapter.detach(req, ctx),
          check: (req, ctx) => adapter.check(req, ctx),
          status: (ctx) => adapter.status(ctx),
          list: (ctx) => adapter.list(ctx),
          remembered: async (ctx) => (await adapter.remembered?.(ctx)) ?? [],
          [Symbol.asyncDispose]: async () => adapter[Symbol.asyncDispose]?.(),
          ...replace(adapter, sound, instance),
        }
      },
    }
  }
}

/** Changes what attach answers. */
const answering = (change: (result: AttachResult) => AttachResult): Mutation =>
  broken((adapter) => ({ attach: async (req, ctx) => change(await adapter.attach(req, ctx)) }))

const unaborted = (): OpContext => ({ signal: AbortSignal.timeout(20_000), log: silentLogger })
const asEth0 = (key: AttachmentKey): AttachmentKey => ({ ...key, ifName: 'eth0' })

/** The adapter in the process that is killed is another one. */
const leakingIn =
  (method: 'attach' | 'detach'): Mutation =>
  (sound) => ({
    ...sound,
    process: {
      stateDir: sound.process?.stateDir ?? '',
      plugin: { plugin: import.meta.resolve('./fixtures/leaky.ts'), options: { in: method, hello: sound.process?.plugin.options } },
    },
  })

/** Broken adapters by the id of the case that must notice. */
export const adapterMutants: Readonly<Record<string, Readonly<Record<string, Mutation>>>> = {
  'crash.attach': { 'keeps an attachment that it had taken for a moment': leakingIn('attach') },
  'crash.detach': { 'keeps an attachment that it had taken for a moment': leakingIn('detach') },
  'attach.valid': {
    'answers MACs in upper case': answering((result) => ({ ...result, mac: result.mac.toUpperCase() })),
    'answers an MTU that is none': answering((result) => ({ ...result, mtu: 0 })),
    'assigns a family that it does not declare': broken((adapter) => ({ capabilities: { ...adapter.capabilities, families: ['ipv4'] } })),
    'routes IPv6 through an IPv4 gateway': answering((result) => ({
      ...result,
      routes: result.routes.map((route) => ({ ...route, gw: '10.88.0.1' })),
    })),
  },
  'attach.pods-reach': {
    'forgets to bring the port up': broken((adapter, { net, dpuNetns }) => ({
      async attach(req, ctx) {
        const result = await adapter.attach(req, ctx)
        await net.apply(dpuNetns, [{ op: 'link.set', dev: req.port.name, up: false }])
        return result
      },
    })),
    'answers only addresses that nobody routes': answering((result) => ({ ...result, ips: [{ address: '198.51.100.9/32' }], routes: [] })),
  },
  'attach.gateway': {
    'names gateways that do not exist': answering((result) => ({
      ...result,
      ips: result.ips.map((ip) => ({ ...ip, gateway: ip.address.includes(':') ? 'fd00:88::dead' : '10.88.0.6' })),
    })),
  },
  'attach.mtu': { 'answers an MTU that its ports do not carry': answering((result) => ({ ...result, mtu: 9000 })) },
  'attach.idempotent': {
    'starts over each time': broken((adapter) => ({
      async attach(req, ctx) {
        await adapter.detach({ key: req.key }, ctx)
        return adapter.attach(req, ctx)
      },
    })),
    'lists each twice': broken((adapter) => ({ list: async (ctx) => (await adapter.list(ctx)).flatMap((key) => [key, key]) })),
    'disconnects on the second': broken((adapter, { net, dpuNetns }) => {
      const seen = new Set<string>()
      return {
        async attach(req, ctx) {
          const result = await adapter.attach(req, ctx)
          if (seen.has(req.port.name)) await net.apply(dpuNetns, [{ op: 'link.set', dev: req.port.name, master: null }])
          seen.add(req.port.name)
          return result
        },
      }
    }),
  },
  'attach.parallel': {
    'lets attaches race for an address': broken((adapter) => {
      let running = 0
      let last: AttachResult | undefined
      return {
        async attach(req, ctx) {
          running += 1
          const result = await adapter.attach(req, ctx)
          const raced = running > 1 && last !== undefined ? { ...result, ips: last.ips } : result
          last = result
          running -= 1
          return raced
        },
      }
    }),
  },
  'attach.had': {
    'gives a running pod what comes next': broken((adapter) => ({
      attach({ had: _ignored, ...req }, ctx) {
        return adapter.attach(req, ctx)
      },
    })),
    'keeps the MAC of the VF': broken((adapter) => ({
      attach: (req, ctx) => adapter.attach(req.had === undefined ? req : { ...req, had: { ...req.had, mac: req.vfMac } }, ctx),
    })),
    'gives what a running pod has to another': broken((adapter, _fixture, instance) => ({
      async attach(req, ctx) {
        const result = await adapter.attach(req, ctx)
        return instance === 1 ? result : { ...result, ips: [{ address: '10.88.0.2/29' }] }
      },
    })),
  },
  'attach.two-interfaces': {
    'takes all interfaces of a pod for one': broken((adapter) => ({
      attach: (req, ctx) => adapter.attach({ ...req, key: asEth0(req.key) }, ctx),
      detach: (req, ctx) => adapter.detach({ ...req, key: asEth0(req.key) }, ctx),
    })),
  },
  'detach.repeated': {
    'complains about what is not there': broken((adapter) => ({
      async detach(req, ctx) {
        const listed = (await adapter.list(ctx)).map(formatAttachmentKey)
        if (!listed.includes(formatAttachmentKey(req.key))) throw new OffloadError('NOT_FOUND', 'no such attachment')
        await adapter.detach(req, ctx)
      },
    })),
  },
  'detach.by-key': {
    'needs the port': broken((adapter) => ({
      detach: async (req, ctx) => (req.port === undefined ? undefined : adapter.detach(req, ctx)),
    })),
  },
  'detach.disconnects': {
    'leaves the port forwarding': broken((adapter, { net, dpuNetns, bridge }) => ({
      async detach(req, ctx) {
        await adapter.detach(req, ctx)
        if (req.port !== undefined) await net.apply(dpuNetns, [{ op: 'link.set', dev: req.port.name, master: bridge, up: true }])
      },
    })),
  },
  'detach.keeps-others': {
    'takes all others down, too': broken((adapter) => ({
      async detach(_req, ctx) {
        for (const key of await adapter.list(ctx)) await adapter.detach({ key }, ctx)
      },
    })),
    'disconnects the others': broken((adapter, { net, dpuNetns, ports }) => ({
      async detach(req, ctx) {
        await adapter.detach(req, ctx)
        for (const { port } of ports) await net.apply(dpuNetns, [{ op: 'link.set', dev: port.name, up: false }])
      },
    })),
  },
  'detach.reattach': {
    'can use a port once': broken((adapter) => {
      const used = new Map<string, string>()
      return {
        async attach(req, ctx) {
          const key = formatAttachmentKey(req.key)
          if ((used.get(req.port.name) ?? key) !== key) throw new OffloadError('ALREADY_EXISTS', 'the port is in use')
          used.set(req.port.name, key)
          return adapter.attach(req, ctx)
        },
      }
    }),
    'gives the next pod the addresses of another one': broken((adapter) => {
      let first: AttachResult | undefined
      return {
        async attach(req, ctx) {
          const result = await adapter.attach(req, ctx)
          first ??= result
          return req.key.containerId === 'second-sandbox' ? { ...result, ips: first.ips } : result
        },
      }
    }),
  },
  'detach.frees': {
    'loses addresses': broken((adapter) => {
      const gone = new Set<string>()
      return {
        async attach(req, ctx) {
          gone.delete(formatAttachmentKey(req.key))
          return adapter.attach(req, ctx)
        },
        async detach(req) {
          gone.add(formatAttachmentKey(req.key))
        },
        list: async (ctx) => (await adapter.list(ctx)).filter((key) => !gone.has(formatAttachmentKey(key))),
      }
    }),
    'gives an address twice when the pool is full': broken((adapter) => {
      let first: AttachResult | undefined
      return {
        async attach(req, ctx) {
          try {
            const result = await adapter.attach(req, ctx)
            first ??= result
            return result
          } catch (error) {
            if (first === undefined) throw error
            return first
          }
        },
      }
    }),
  },
  'ports.shared': {
    'takes shared ports when it starts': broken((adapter, { net, dpuNetns }) => ({
      async start(ports, ctx) {
        await adapter.start?.(ports, ctx)
        for (const { name } of ports) await net.apply(dpuNetns, [{ op: 'link.set', dev: name, name: `${name}x` }])
      },
    })),
    'leaves shared ports up': broken((adapter, { net, dpuNetns }) => ({
      async detach(req, ctx) {
        await adapter.detach(req, ctx)
        if (req.port !== undefined) await net.apply(dpuNetns, [{ op: 'link.set', dev: req.port.name, up: true }])
      },
    })),
  },
  'ports.shared-restart': {
    'keeps what it has taken before ports were shared': broken((adapter, { net, dpuNetns, bridge }, instance) => ({
      async start(ports, ctx) {
        await adapter.start?.(ports, ctx)
        const free = ports.filter(({ vf }) => vf.index > 1)
        if (instance === 1) for (const { name } of free) await net.apply(dpuNetns, [{ op: 'link.set', dev: name, master: bridge }])
      },
    })),
    'forgets attachments whose ports become shared': broken((adapter, _fixture, instance) => ({
      list: async (ctx) => (instance === 1 ? await adapter.list(ctx) : []),
    })),
  },
  'status.ready': {
    'is never ready': broken(() => ({
      async status() {
        throw new OffloadError('NOT_READY', 'not today')
      },
    })),
  },
  'list.truth': {
    'lists nothing': broken(() => ({ list: async () => [] })),
    'never forgets': broken((adapter) => {
      const seen = new Map<string, AttachmentKey>()
      return {
        async list(ctx) {
          for (const key of await adapter.list(ctx)) seen.set(formatAttachmentKey(key), key)
          return [...seen.values()]
        },
      }
    }),
  },
  'check.sound': {
    'finds fault with everything': broken(() => ({
      async check() {
        throw new OffloadError('CHECK_FAILED', 'something is always wrong')
      },
    })),
  },
  'check.tampered': {
    'never looks': broken(() => ({ async check() {} })),
    'cannot say that the check failed': broken((adapter) => ({
      check: (req, ctx) =>
        adapter.check(req, ctx).catch(() => {
          throw new OffloadError('INTERNAL', 'oops')
        }),
    })),
  },
  'check.detached': {
    'passes what it does not know': broken((adapter) => ({
      async check(req, ctx) {
        const listed = (await adapter.list(ctx)).map(formatAttachmentKey)
        if (listed.includes(formatAttachmentKey(req.key))) await adapter.check(req, ctx)
      },
    })),
  },
  'check.expectation': {
    'does not compare with what is expected': broken((adapter) => {
      const results = new Map<string, AttachResult>()
      return {
        async attach(req, ctx) {
          const result = await adapter.attach(req, ctx)
          results.set(formatAttachmentKey(req.key), result)
          return result
        },
        check: (req, ctx) => adapter.check({ ...req, expected: results.get(formatAttachmentKey(req.key)) ?? req.expected }, ctx),
      }
    }),
  },
  'restart.keeps': {
    'starts clean': broken((adapter, _fixture, instance) => ({
      async start(ports, ctx) {
        await adapter.start?.(ports, ctx)
        if (instance > 1) for (const key of await adapter.list(ctx)) await adapter.detach({ key }, ctx)
      },
    })),
    'disconnects when it starts': broken((adapter, { net, dpuNetns }) => ({
      async start(ports, ctx) {
        await adapter.start?.(ports, ctx)
        for (const { name } of ports) await net.apply(dpuNetns, [{ op: 'link.set', dev: name, up: false }])
      },
    })),
  },
  'restart.remembered': {
    'remembers nothing': broken(() => ({ remembered: async () => [] })),
    'forgets what it answered': broken((adapter) => ({
      remembered: async (ctx) => ((await adapter.remembered?.(ctx)) ?? []).map(({ request }) => ({ request })),
    })),
    'never forgets': broken((adapter) => {
      const seen = new Map<string, RememberedAttachment>()
      return {
        async remembered(ctx) {
          for (const known of (await adapter.remembered?.(ctx)) ?? []) seen.set(formatAttachmentKey(known.request.key), known)
          return [...seen.values()]
        },
      }
    }),
  },
  'restart.lost-state': {
    'does not listen to the agent': broken((adapter) => ({ start: async (ports, ctx) => adapter.start?.(ports, ctx) })),
  },
  'request.mac': {
    'ignores the wish': broken((adapter) => ({ attach: (req, ctx) => adapter.attach({ ...req, runtimeConfig: {} }, ctx) })),
  },
  'request.ips': {
    'ignores the wish': (sound) => ({
      ...broken((adapter) => ({ capabilities: { ...adapter.capabilities, runtimeConfig: ['ips'] } }))(sound),
      requestableIps: ['10.88.0.6/29'],
    }),
  },
  'request.host-ipam': {
    'ignores it': broken((adapter) => ({
      attach({ hostIpam: _ignored, ...req }, ctx) {
        return adapter.attach(req, ctx)
      },
    })),
    'refuses it with a code that says nothing': broken((adapter) => ({
      async attach(req, ctx) {
        if (req.hostIpam !== undefined) throw new OffloadError('INTERNAL', 'oops')
        return adapter.attach(req, ctx)
      },
    })),
  },
  'request.vlan': {
    'ignores it': broken((adapter) => ({
      attach({ vlan: _ignored, ...req }, ctx) {
        return adapter.attach(req, ctx)
      },
    })),
  },
  'request.host-enforces': {
    'asks every host': answering((result) => ({ ...result, vf: { vlan: { id: 100, qos: 0, protocol: '802.1q' } } })),
    'asks for all where something is enforced': broken((adapter) => ({
      attach: async (req, ctx) => ({
        ...(await adapter.attach(req, ctx)),
        ...(req.hostEnforces === undefined ? {} : { vf: { trust: false, linkState: 'auto' as const } }),
      }),
    })),
  },
  'abort.refused': {
    'ignores the signal': broken((adapter) => ({ attach: (req) => adapter.attach(req, unaborted()) })),
  },
  'abort.midway': {
    'loses an address for each abort': broken((adapter) => {
      let lost = 0
      return {
        async attach(req, ctx) {
          try {
            return await adapter.attach(req, ctx)
          } catch (error) {
            if (ctx.signal.aborted) await adapter.attach({ ...req, key: { ...req.key, containerId: `lost-${(lost += 1)}` } }, unaborted())
            throw error
          }
        },
        list: async (ctx) => (await adapter.list(ctx)).filter(({ containerId }) => !containerId.startsWith('lost-')),
      }
    }),
    'throws whatever comes': broken((adapter) => ({
      async attach(req, ctx) {
        const result = await adapter.attach(req, ctx).catch(() => undefined)
        if (ctx.signal.aborted || result === undefined) throw new RangeError('aborted')
        return result
      },
    })),
  },
}
