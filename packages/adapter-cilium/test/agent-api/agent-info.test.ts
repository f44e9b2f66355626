import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger, systemClock } from '@cni-offload/sdk'
import { expect, it, vi } from 'vitest'
import { AgentInspector } from '../../src/agent-api/agent-info.ts'
import { CiliumClient } from '../../src/api/client.ts'
import { ApiPolicy } from '../../src/api/patience.ts'

it('an agent that takes requests and never answers is not waited for at the start', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'cilium-test-'))
  const socket = join(folder, 'cilium.sock')
  const asked = vi.fn()
  const server = createServer(asked)
  server.listen(socket)
  await once(server, 'listening')
  try {
    const client = new CiliumClient({ socket, requestTimeoutMs: 60_000, policy: new ApiPolicy(systemClock, () => 0.5) })
    const warn = vi.fn()
    const inspector = new AgentInspector(client, systemClock, {})
    await inspector.greet({ signal: AbortSignal.timeout(30_000), log: { ...silentLogger, warn } }, 2_000)
    expect(asked).toHaveBeenCalledOnce()
    expect(warn).toHaveBeenCalledOnce()
    expect(inspector.last).toBeUndefined()
  } finally {
    server.closeAllConnections()
    server.close()
    await rm(folder, { recursive: true, force: true })
  }
}, 60_000)
