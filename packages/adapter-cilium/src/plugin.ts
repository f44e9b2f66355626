import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { createLinuxNet } from '@cni-offload/linux'
import { definePlugin, type Plugin } from '@cni-offload/sdk'
import { reportSetAside } from '@cni-offload/sdk/sqlite'
import { CiliumAdapter } from './agent-api/adapter.ts'
import { AddressBook } from './agent-api/address-book.ts'
import { AgentInspector } from './agent-api/agent-info.ts'
import { Deletions } from './agent-api/deletions.ts'
import { CiliumClient } from './api/client.ts'
import { ApiPolicy } from './api/patience.ts'
import { ciliumOptions } from './options.ts'
import { AttachmentStore } from './state/attachment-store.ts'

/** The adapter that gives pods the network of a stock cilium-agent on the DPU: `cilium({ nodeName: 'host-1' })`. */
export const cilium: Plugin<'adapter', typeof ciliumOptions> = definePlugin({
  kind: 'adapter',
  name: 'cilium',
  specVersion: 'v1',
  options: ciliumOptions,
  create({ clock, log, stateDir }, { socket, requestTimeoutMs, connectTimeoutMs, nodeName, families, proxyPrefix, netns }) {
    const random = (): number => Math.random()
    const store = new AttachmentStore(join(stateDir, 'cilium.db'), clock)
    reportSetAside(store.setAside, log)
    const client = new CiliumClient({ socket, requestTimeoutMs, policy: new ApiPolicy(clock, random) })
    const addresses = new AddressBook(client, store)
    return new CiliumAdapter({
      net: createLinuxNet(),
      store,
      client,
      addresses,
      inspector: new AgentInspector(client, clock, { nodeName, families }),
      deletions: new Deletions({ client, store, addresses, clock, log, random }),
      proxies: { prefix: proxyPrefix, home: netns, owner: createHash('sha256').update(stateDir).digest('hex').slice(0, 16) },
      connectTimeoutMs,
    })
  },
})
