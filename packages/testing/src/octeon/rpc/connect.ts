import type { LinuxNet, VfAdmin } from '@cni-offload/linux'
import type { CommandOutcome, Machine } from '@cni-offload/linux/machine'
import { OffloadError, parseWith, vfVlan } from '@cni-offload/sdk'
import { z } from 'zod'
import { netOfHost } from '../host/vf-net.ts'
import type { CardSide } from '../wire/netdevs.ts'
import { RpcClient } from './client.ts'

const texts = z.array(z.string())
const outcome: z.ZodType<CommandOutcome> = z.object({
  exitCode: z.int().nullable(),
  exitSignal: z.string().nullable(),
  stdout: z.string(),
  stderr: z.string(),
})

const vfAdmin: z.ZodType<VfAdmin> = z.object({
  vf: z.int(),
  mac: z.string(),
  vlan: vfVlan,
  minTxRate: z.int(),
  maxTxRate: z.int(),
  spoofCheck: z.boolean().exactOptional(),
  trust: z.boolean().exactOptional(),
  linkState: z.enum(['auto', 'enable', 'disable']),
})

const check = <T>(schema: z.ZodType<T>, value: unknown): T => parseWith(schema, value, 'answer of a fake card', 'UNDECODABLE')

/** A machine of a fake card that lives in another process. Disposing it closes the connection. */
export interface RemoteMachine extends Machine, AsyncDisposable {}

/**
 * A machine of the card that {@link serveFakeOcteonCard} serves under `socket`. What it refuses rejects with the same `code` as there.
 *
 * @throws the system's error if nobody listens; later calls reject with OffloadError AGENT_UNREACHABLE when the connection is lost
 */
export async function connectFakeOcteonMachine(socket: string, side: CardSide): Promise<RemoteMachine> {
  const client = (await RpcClient.connect(socket)).unref()
  return {
    read: async (path) => check(z.string(), await client.call(side, 'read', [path])),
    write: async (path, text) => void (await client.call(side, 'write', [path, text])),
    readlink: async (path) => check(z.string(), await client.call(side, 'readlink', [path])),
    list: async (path) => check(texts, await client.call(side, 'list', [path])),
    place: async (path, text, mode) => void (await client.call(side, 'place', mode === undefined ? [path, text] : [path, text, mode])),
    remove: async (path) => void (await client.call(side, 'remove', [path])),
    run: async (argv, signal) => check(outcome, await client.call(side, 'run', [argv], signal)),
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  }
}

/**
 * Kernel access of the host of a card in another process: what the driver of its physical function makes of settings of VFs is asked there.
 *
 * @param net - the kernel's; disposed with what is returned
 * @throws the system's error if nobody listens
 */
export async function connectFakeOcteonNet(socket: string, net: LinuxNet): Promise<LinuxNet> {
  const client = (await RpcClient.connect(socket)).unref()
  // What crosses the socket is an error like any other, with its code.
  const call = async (method: string, args: readonly unknown[]): Promise<unknown> =>
    await client.call('host', method, args).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'KERNEL_REFUSED' ? new OffloadError('KERNEL_REFUSED', error.message, { cause: error }) : error
    })
  return netOfHost(net, {
    vfs: async () => check(z.array(vfAdmin), await call('vfs', [])),
    set: async (vf, settings) => void (await call('setVf', [vf, settings])),
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  })
}

/** What can be done to a card that lives in another process, beside what its machines do. */
export interface RemoteCard extends AsyncDisposable {
  /** The host resets the PCI link. @param comesBack - false for a link that an agent cannot set up again */
  perst(comesBack?: boolean): Promise<void>
  /** The host boots again. */
  rebootHost(): Promise<void>
  /** The crypto engine works on so many instructions. */
  advanceCrypto(instructions: number): Promise<void>
}

/** The card that {@link serveFakeOcteonCard} serves under `socket`. @throws the system's error if nobody listens */
export async function connectFakeOcteonCard(socket: string): Promise<RemoteCard> {
  const client = (await RpcClient.connect(socket)).unref()
  return {
    perst: async (comesBack = true) => void (await client.call('card', 'perst', [comesBack])),
    rebootHost: async () => void (await client.call('card', 'rebootHost', [])),
    advanceCrypto: async (instructions) => void (await client.call('card', 'advanceCrypto', [instructions])),
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  }
}
