import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LinuxNet } from '@cni-offload/linux'
import { localMachine } from '@cni-offload/linux/machine'
import { type Clock, type Logger, silentLogger, systemClock } from '@cni-offload/sdk'
import { TestNetns, uniqueName } from '@cni-offload/testing'
import type { HardwareFixture } from '@cni-offload/testing/hardware'
import { FakeOcteonCard, type FakeOcteonCardOptions } from '@cni-offload/testing/octeon'
import { type BringUpOptions, type ControlPlane, type ControlPlaneEvent, FunctionBook, OcteonDpu, OcteonHost } from '../src/index.ts'

/** A control plane that somebody else keeps: the fake card has a steady one. */
export class SteadyControlPlane implements ControlPlane {
  async start(): Promise<void> {}

  async *events(signal: AbortSignal): AsyncIterable<ControlPlaneEvent> {
    if (signal.aborted) return
    yield { kind: 'ready' }
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A host and a DPU with a fake card between them, and both halves of the backend. */
export interface FakeNode extends HardwareFixture {
  readonly card: FakeOcteonCard
  readonly device: string
  readonly host: OcteonHost
  readonly dpu: OcteonDpu
  /** Another host half, as after a restart of its daemon; with what it keeps on disk, or without. */
  newHost(options?: NewHost): Promise<OcteonHost>
}

interface NewHost {
  readonly options?: Partial<BringUpOptions>
  readonly book?: 'kept' | 'lost'
  readonly mayReload?: boolean
  readonly clock?: Clock
  readonly log?: Logger
  /** Called before anything is asked of the kernel or written to disk; may throw. */
  readonly step?: () => void
}

/** The same, with a call before each of some methods. */
function stepping<T extends object>(real: T, methods: readonly (keyof T)[], step: () => void): T {
  return new Proxy(real, {
    get(target, name) {
      const value: unknown = target[name as keyof T]
      if (typeof value !== 'function') return value
      return async (...args: unknown[]): Promise<unknown> => {
        if ((methods as readonly PropertyKey[]).includes(name)) step()
        return await (value as (...rest: unknown[]) => unknown).apply(target, args)
      }
    },
  })
}

/** Makes a node whose DPU half is started. */
export async function fakeNode(net: LinuxNet, card: Partial<FakeOcteonCardOptions> = {}, first: NewHost = {}): Promise<FakeNode> {
  const hostNetns = await TestNetns.create(net, 'och')
  const dpuNetns = await TestNetns.create(net, 'ocd')
  const folder = await mkdtemp(join(tmpdir(), 'octeon-'))
  const vfs = card.vfs ?? 4
  // Cards of other tests have the same PCI addresses, and this kernel does not tell their interfaces apart.
  const device = `o${randomBytes(3).toString('hex')}`
  const plugged = await FakeOcteonCard.create({ net, hostNetns: hostNetns.path, dpuNetns: dpuNetns.path, vfs, ...card })
  const newHost = async ({
    options = {},
    book = 'kept',
    mayReload = false,
    clock = systemClock,
    step = () => {},
    log = silentLogger,
  }: NewHost = {}): Promise<OcteonHost> => {
    const path = join(folder, book === 'kept' ? 'functions.json' : `${uniqueName('book')}.json`)
    return new OcteonHost({
      machine: plugged.host,
      net: stepping(plugged.hostNet(net), ['apply', 'vfs', 'link', 'links'], step),
      clock,
      log,
      book: await FunctionBook.open({ files: stepping(localMachine(), ['place'], step), path, boot: 'one', log: silentLogger }),
      device,
      netns: hostNetns.path,
      options: { readyMs: 5_000, ...options },
      mayReload,
    })
  }
  const dpu = new OcteonDpu({
    machine: plugged.dpu,
    net,
    log: silentLogger,
    controlPlane: new SteadyControlPlane(),
    device,
    netns: dpuNetns.path,
  })
  await dpu.start(AbortSignal.timeout(30_000))
  return {
    net,
    card: plugged,
    device,
    host: await newHost(first),
    dpu,
    hostNetns: hostNetns.path,
    dpuNetns: dpuNetns.path,
    vfs: Array.from({ length: vfs }, (_, index) => ({ device, index })),
    restartHost: () => newHost(),
    newHost,
    survivesNetnsLoss: true,
    async giveToPrograms({ index }) {
      const { undo } = await plugged.bindVfio(index)
      return { [Symbol.asyncDispose]: undo }
    },
    enforced: async ({ index }) => plugged.vfAdmin.vfs()[index] ?? {},
    async [Symbol.asyncDispose]() {
      await plugged[Symbol.asyncDispose]()
      await hostNetns[Symbol.asyncDispose]()
      await dpuNetns[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
