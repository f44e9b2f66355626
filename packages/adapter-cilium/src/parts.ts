import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import type { ProxyOptions } from '@cni-offload/linux/splice'
import type { PluginDeps } from '@cni-offload/sdk'
import { reportSetAside } from '@cni-offload/sdk/sqlite'
import { AddressBook, type Holders } from './agent-api/address-book.ts'
import { AgentInspector, expectationsOf } from './agent-api/agent-info.ts'
import { Deletions } from './agent-api/deletions.ts'
import { Endpoints } from './agent-api/endpoints.ts'
import { CiliumClient } from './api/client.ts'
import { ApiPolicy } from './api/patience.ts'
import type { CiliumOptions } from './options.ts'
import { AttachmentStore } from './state/attachment-store.ts'

/** What the adapters of both modes are made of. */
export interface CommonParts {
  /** Network operations. */
  readonly net: LinuxNet
  /** Attachments and due deletions. */
  readonly store: AttachmentStore
  /** The agent's limits. */
  readonly policy: ApiPolicy
  /** The agent. */
  readonly client: CiliumClient
  /** What the agent is. */
  readonly inspector: AgentInspector
  /** The agent's endpoints. */
  readonly endpoints: Endpoints
  /** Addresses. */
  readonly addresses: AddressBook
  /** Endpoints that have to go. */
  readonly deletions: Deletions
  /** Where proxy namespaces are made. */
  readonly proxies: ProxyOptions
  /** How long an attach bears with an agent that is not there, milliseconds. */
  readonly connectTimeoutMs: number
}

/** Makes what both modes need. @param holders - who knows which addresses are taken; the store by default */
export function commonParts({ clock, log, stateDir }: PluginDeps, options: CiliumOptions, holders?: Holders): CommonParts {
  const { socket, requestTimeoutMs, connectTimeoutMs, proxyPrefix: prefix, netns: home } = options
  const random = (): number => Math.random()
  const store = new AttachmentStore(join(stateDir, 'cilium.db'), clock)
  reportSetAside(store.setAside, log)
  const policy = new ApiPolicy(clock, random)
  const client = new CiliumClient({ socket, requestTimeoutMs, policy })
  const addresses = new AddressBook(client, holders ?? store)
  return {
    net: createLinuxNet(),
    store,
    policy,
    client,
    inspector: new AgentInspector(client, clock, expectationsOf(options)),
    endpoints: new Endpoints(client),
    addresses,
    deletions: new Deletions({ client, store, addresses, clock, log, random, recorded: holders === undefined }),
    proxies: { prefix, home, owner: createHash('sha256').update(stateDir).digest('hex').slice(0, 16) },
    connectTimeoutMs,
  }
}
