import type { CryptoAlgorithm, SecurityAssociation } from '@cni-offload/linux/ipsec'
import { type CryptoEngine, OffloadError } from '@cni-offload/sdk'
import type { EncryptionStatus } from '../api/schemas.ts'
import type { EngineReading, Reading, Sample } from './sample.ts'
import { nodeStatus, type NodeStatus } from './status.ts'

/** Something that can be read, and how it is called. */
export interface Source<T> {
  /** Command, request or file. */
  readonly from: string
  /** Reads it. What it throws is told as missing. */
  readonly read: () => T | Promise<T>
}

/** What can be read of a node; what it does not have is left out. */
export interface NodeSources {
  /** What the agent says itself, by its API. */
  readonly agent?: Source<EncryptionStatus | null | undefined>
  /** What `cilium-dbg encrypt status` or cilium-cli says. */
  readonly status?: Source<NodeStatus>
  /** The kernel's associations. */
  readonly associations?: Source<readonly SecurityAssociation[]>
  /** The kernel's drivers. */
  readonly algorithms?: Source<readonly CryptoAlgorithm[]>
  /** The hardware's engine. */
  readonly engine?: Source<CryptoEngine>
}

/** Numbers by which Cilium's associations are told from others': 2 is that of encrypted tunnels in some releases. */
const CILIUM_REQUESTS: readonly number[] = [1, 2]

type Taken<T> = { readonly value: T; readonly from: string } | undefined

/** Reads all that there is of a node. Never rejects: what cannot be read is missing, with the reason. */
export async function readNode(sources: NodeSources): Promise<Sample> {
  const missing: Reading<string>[] = []
  const take = async <T, U>(source: Source<T> | undefined, use: (value: T) => U | Promise<U>): Promise<Taken<U>> => {
    if (source === undefined) return undefined
    try {
      return { value: await use(await source.read()), from: source.from }
    } catch (error) {
      missing.push({ value: OffloadError.from(error).message, from: source.from })
      return undefined
    }
  }
  const [agent, status, algorithms] = await Promise.all([
    take(sources.agent, (said) => (said === null || said === undefined ? undefined : nodeStatus(said))),
    take(sources.status, (said) => said),
    take(sources.algorithms, (all) => all),
  ])
  const engine = await take(sources.engine, async (one) => ({ one, first: await one.counters() }))
  const associations = await take(sources.associations, (all) => all.filter(({ requestId }) => CILIUM_REQUESTS.includes(requestId)))
  const counted = await take(engine && { from: engine.from, read: () => engine.value.one.counters() }, (last): EngineReading => ({
    offload: engine?.value.one.offload ?? 'none',
    first: engine?.value.first ?? last,
    last,
  }))
  const told = [agent, status].flatMap((one) => (one?.value === undefined ? [] : [{ ...one, value: one.value }]))
  const first = <K extends 'keysInUse' | 'sequence' | 'errors'>(key: K): Reading<NonNullable<NodeStatus[K]>> | undefined => {
    for (const { value, from } of told) if (value[key] !== undefined) return { value: value[key], from }
    return undefined
  }
  const [keysInUse, sequence, errors] = [first('keysInUse'), first('sequence'), first('errors')]
  return {
    modes: told.flatMap(({ value: { mode }, from }) => (mode === undefined ? [] : [{ value: mode, from }])),
    ...(keysInUse === undefined ? {} : { keysInUse }),
    ...(sequence === undefined ? {} : { sequence }),
    ...(errors === undefined ? {} : { errors }),
    ...(associations === undefined ? {} : { associations }),
    ...(algorithms === undefined ? {} : { algorithms }),
    ...(counted === undefined ? {} : { engine: counted }),
    missing: [...missing, ...told.flatMap(({ value: { message }, from }) => (message === undefined ? [] : [{ value: message, from }]))],
  }
}
