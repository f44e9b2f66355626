import { ApiPolicy, CiliumClient, NO_PATIENCE } from '@cni-offload/adapter-cilium'
import { readNode, type Sample, type Source } from '@cni-offload/adapter-cilium/ipsec'
import { type CryptoAlgorithm, cryptoAlgorithms, type SecurityAssociation, securityAssociations } from '@cni-offload/linux/ipsec'
import { type CryptoEngine, silentLogger, systemClock } from '@cni-offload/sdk'
import { deadline } from '@cni-offload/sdk/runtime'
import type { Subject } from './subject.ts'

/** What this machine, a DPU, is asked by. */
export interface ThisNode {
  /** Socket of cilium-agent. */
  readonly socket: string
  /** Engine of the DPU's hardware, and where it is asked. */
  readonly engine?: { readonly from: string; readonly read: (signal: AbortSignal) => CryptoEngine | Promise<CryptoEngine> }
  /** The kernel's associations. @defaultValue those of this process's network namespace */
  readonly associations?: () => readonly SecurityAssociation[]
  /** The kernel's drivers. @defaultValue those of `/proc/crypto` */
  readonly algorithms?: () => Promise<readonly CryptoAlgorithm[]>
}

const TIMEOUT_MS = 20_000

const source = <T>(from: string, read: () => T | Promise<T>): Source<T> => ({ from, read })

/**
 * The node whose agent runs on this machine. Of IPsec the agent tells the mode only; the rest is read from the kernel, in whose network
 * namespace this has to run.
 */
export function thisNode({ socket, engine, associations = securityAssociations, algorithms = cryptoAlgorithms }: ThisNode): Subject {
  const client = new CiliumClient({ socket, requestTimeoutMs: TIMEOUT_MS, policy: new ApiPolicy(systemClock, () => Math.random()) })
  return {
    name: 'this node',
    read: async (signal): Promise<Sample> =>
      await readNode({
        agent: source(`GET /healthz at ${socket}`, async () => {
          const health = await client.health({ signal: deadline(signal, TIMEOUT_MS), log: silentLogger, patience: NO_PATIENCE }, false)
          return health.encryption
        }),
        associations: source('associations of the kernel (XFRM)', associations),
        algorithms: source('/proc/crypto', algorithms),
        ...(engine === undefined ? {} : { engine: source(engine.from, () => engine.read(signal)) }),
      }),
  }
}
