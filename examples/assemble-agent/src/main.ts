/**
 * Assembles a DPU agent in code and proves that it works: a host attaches two pods over mTLS, they reach each other through
 * the agent's network, and nothing is left afterwards. Exits with 0 only if all of that is true.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAgent } from '@cni-offload/agent'
import { hello } from '@cni-offload/example-hello-adapter'
import { softDpu } from '@cni-offload/hw-soft'
import { createAuthority, issueCertificate } from '@cni-offload/protocol/pki'
import { isRoot, ROOT_REASON } from '@cni-offload/testing'
import { prove } from './prove.ts'
import { makeStage } from './stage.ts'

if (!isRoot()) {
  console.error(`this example ${ROOT_REASON}; run it again with sudo`)
  process.exit(1)
}

await using cleanup = new AsyncDisposableStack()
const dir = await mkdtemp(join(tmpdir(), 'assemble-agent-'))
cleanup.defer(() => rm(dir, { recursive: true, force: true }))
const authority = join(dir, 'ca')
await createAuthority({ dir: authority })
const stage = cleanup.use(await makeStage({ vfs: 2 }))

// #region agent
const agent = createAgent({
  node: 'node-1',
  hardware: softDpu({ device: stage.device, vfs: 2, netns: stage.dpuNetns }),
  adapter: hello({ netns: stage.dpuNetns, pools: { ipv4: { subnet: '10.88.0.0/24' }, ipv6: { subnet: 'fd00:88::/64' } } }),
  listen: 'tcp://127.0.0.1:0',
  tls: await issueCertificate({ authority, role: 'agent', node: 'node-1', out: join(dir, 'agent') }),
  stateDir: join(dir, 'state'),
})
const stop = new AbortController()
const running = agent.run(stop.signal)
// #endregion

try {
  // Whichever is first: an agent that cannot start says why through run().
  const address = await Promise.race([agent.listening, running.then(() => agent.listening)])
  await prove(stage, address, await issueCertificate({ authority, role: 'host', node: 'node-1', out: join(dir, 'host') }))
} finally {
  stop.abort()
  await running
}
console.log('ok')
