import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TlsFiles } from '@cni-offload/protocol'
import { createAuthority, issueCertificate } from '@cni-offload/protocol/pki'
import { type LogFields, type Logger, silentLogger } from '@cni-offload/sdk'
import { uniqueName } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OtherAgent, type OtherAgentOptions } from '../../protocol/test/support/other-agent.ts'
import type { Release } from '../../protocol/test/support/releases.ts'
import { eventually, HostLab } from './support/lab.ts'

const NODE = uniqueName('node')
const RELEASES: readonly Release[] = ['older', 'newer']
const TOO_NEW = { min: 2, max: 3 }

describe.skipIf(process.getuid?.() !== 0)('the whole host daemon (needs root: network namespaces)', { timeout: 90_000 }, () => {
  let dir: string
  let host: TlsFiles
  let agent: TlsFiles
  let address: string
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'releases-'))
    const authority = join(dir, 'ca')
    await createAuthority({ dir: authority })
    host = await issueCertificate({ authority, role: 'host', node: NODE, out: join(dir, 'host') })
    agent = await issueCertificate({ authority, role: 'agent', node: NODE, out: join(dir, 'agent') })
    address = `unix:${join(dir, 'agent.sock')}`
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))

  const peer = (release: Release, more: Partial<OtherAgentOptions> = {}): Promise<OtherAgent> =>
    OtherAgent.start({ release, tls: agent, address, ...more })
  const errors: (LogFields & { message: string })[] = []
  const log: Logger = { ...silentLogger, error: (fields, message) => void errors.push({ ...fields, message }), child: () => log }
  const start = (): Promise<HostLab> => {
    errors.length = 0
    return HostLab.start({ vfs: 3, node: NODE, log, limits: { agentMs: 1_000 }, host: { agent: { address, tls: host } } })
  }
  const connected = (lab: HostLab): Promise<void> => eventually(async () => (await lab.inspect()).agent.connected, 'the agent is connected')

  it.each(RELEASES)('works with an agent of the %s release, over restarts of either', async (release) => {
    await using first = await peer(release)
    await using lab = await start()
    await connected(lab)
    await using pod = await lab.pod()
    const added = await lab.call('ADD', pod)
    expect(JSON.parse(added.output)).toMatchObject({ ips: [{ address: '10.77.0.2/24' }] })
    expect((await lab.call('CHECK', pod, { netconf: { prevResult: JSON.parse(added.output) } })).output).toBe('')
    expect((await lab.call('STATUS', pod)).output).toBe('')
    expect([first.count('Handshake'), first.count('Heartbeat')]).toEqual([1, release === 'older' ? 0 : 1])

    await lab.stopHost()
    await lab.startHost()
    await connected(lab)
    expect(first.calls.filter(({ method, request }) => method === 'Resync.message' && Boolean(request.wired))).toHaveLength(1)

    await first[Symbol.asyncDispose]()
    await eventually(async () => !(await lab.inspect()).agent.connected, 'the loss is noticed')
    await using second = await peer(release, { had: first })
    await connected(lab)
    expect([...second.attachments.keys()]).toEqual([`podnet/${pod.containerId}/eth0`])
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
    expect(second.attachments.size).toBe(0)
    expect(await lab.remains()).toEqual([])
  })

  it('goes on with an agent that does in a resync what is not known here', async () => {
    await using first = await peer('newer')
    await using lab = await start()
    await connected(lab)
    await using pod = await lab.pod()
    expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    await first[Symbol.asyncDispose]()
    await eventually(async () => !(await lab.inspect()).agent.connected, 'the loss is noticed')
    await using second = await peer('newer', { had: first })
    second.action = 'RESYNC_ACTION_MOVED'
    await connected(lab)
    const metrics = await (await fetch(`http://127.0.0.1:${await lab.host.metricsListening}/metrics`)).text()
    expect(metrics).toMatch(/cni_offload_host_resync_total\{action="unknown"\} [1-9]/)
    await eventually(() => second.count('Resync') > 1, 'it asks again')
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
    await eventually(async () => (await lab.remains()).length === 0, 'nothing is left')
  })

  it('says that an agent is too new, leaves pods alone, and goes on once they fit', async () => {
    await using fitting = await peer('newer')
    await using lab = await start()
    await connected(lab)
    await using pod = await lab.pod('one')
    await using ended = await lab.pod('two')
    for (const one of [pod, ended]) expect((await lab.call('ADD', one)).exitCode).toBe(0)
    await fitting[Symbol.asyncDispose]()
    await eventually(async () => !(await lab.inspect()).agent.connected, 'the loss is noticed')

    await using tooNew = await peer('newer', { protocol: TOO_NEW, had: fitting })
    await eventually(() => errors.some(({ code }) => code === 'INCOMPATIBLE_PEER'), 'the reason is logged')
    await using other = await lab.pod('three')
    const why = {
      msg: 'the host speaks protocol versions 1 to 1, this agent 2 to 3',
      details: expect.stringContaining('Upgrade the host daemon.'),
    }
    expect(JSON.parse((await lab.call('STATUS', other)).output)).toMatchObject({ code: 50, ...why })
    expect(JSON.parse((await lab.call('ADD', other)).output)).toMatchObject({ code: 108, ...why })
    expect(await lab.net.link(pod.path, 'eth0'), 'the pod goes on').toMatchObject({ up: true })
    expect((await lab.call('DEL', ended)).exitCode, 'a DEL succeeds and is kept for later').toBe(0)
    expect([...new Set(tooNew.calls.map(({ method }) => method))], 'nothing else is asked of it').toEqual(['Handshake'])
    expect(
      errors.filter(({ code }) => code === 'INCOMPATIBLE_PEER'),
      'said once',
    ).toHaveLength(1)
    await tooNew[Symbol.asyncDispose]()

    await using upgraded = await peer('newer', { had: fitting })
    await connected(lab)
    await eventually(() => upgraded.attachments.size === 1, 'the DEL has arrived')
    expect((await lab.call('ADD', other)).exitCode).toBe(0)
    for (const one of [pod, other]) expect((await lab.call('DEL', one)).exitCode).toBe(0)
    await eventually(async () => (await lab.remains()).length === 0, 'nothing is left')
  })
})
