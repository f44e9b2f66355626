import { DatabaseSync } from 'node:sqlite'
import type { VfAdminSettings } from '@cni-offload/sdk'
import { afterEach, describe, expect, it } from 'vitest'
import type { Answer } from '../support/call.ts'
import { FakeAgent } from '../support/fake-agent.ts'
import { eventually, HostLab } from '../support/lab.ts'
import { FakeVfAdmin } from '../support/vf-admin.ts'

/** What a call has answered, decoded. */
const said = async (answer: Promise<Answer>): Promise<{ exitCode: number; json?: Record<string, unknown> }> => {
  const { exitCode, output } = await answer
  return { exitCode, ...(output === '' ? {} : { json: JSON.parse(output) as Record<string, unknown> }) }
}

const WANTED: VfAdminSettings = { vlan: { id: 100, qos: 0, protocol: '802.1q' }, trust: false }

describe.skipIf(process.getuid?.() !== 0)('settings of a VF (needs root: makes network namespaces and links)', { timeout: 60_000 }, () => {
  let lab: HostLab | undefined
  afterEach(() => lab?.[Symbol.asyncDispose]())

  const start = async (vf: VfAdminSettings | undefined, admin = new FakeVfAdmin('vlan', 'trust')): Promise<[HostLab, FakeVfAdmin]> => {
    const agent = new FakeAgent()
    agent.result = vf === undefined ? {} : { vf }
    lab = await HostLab.start({ agent, device: admin.inFrontOf })
    return [lab, admin]
  }

  it('are enforced before the pod can speak, and gone after DEL; the agent knows what can be', async () => {
    const [node, admin] = await start(WANTED)
    await using pod = await node.pod()
    const up: unknown[] = []
    admin.before = async () => void up.push((await node.net.link(pod.path, 'eth0'))?.up)
    expect(await said(node.call('ADD', pod))).toMatchObject({ exitCode: 0 })
    expect(up, 'the interface is in the pod, and down').toEqual([false])
    expect([...node.agent.attachments.values()].map(({ hostEnforces }) => hostEnforces)).toEqual([['vlan', 'trust']])
    expect([...admin.settings]).toEqual([['soft0/0', WANTED]])
    expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
    expect([...admin.settings]).toEqual([])
    expect(await node.remains()).toEqual([])
  })

  it.each([undefined, {}])('cost nothing where the network asks for %j', async (vf) => {
    const [node, admin] = await start(vf)
    await using pod = await node.pod()
    const { json } = await said(node.call('ADD', pod))
    expect(await said(node.call('CHECK', pod, { netconf: { prevResult: json } }))).toMatchObject({ exitCode: 0 })
    expect(await node.call('DEL', pod)).toMatchObject({ exitCode: 0 })
    expect(admin.calls).toEqual([])
  })

  it('that cannot be enforced fail the ADD, which leaves nothing', async () => {
    const [node, admin] = await start(WANTED)
    admin.refuses = ['trust']
    await using pod = await node.pod()
    expect(await said(node.call('ADD', pod))).toMatchObject({
      exitCode: 1,
      json: { code: 106, msg: expect.stringContaining('refuses trust') as string },
    })
    expect(await node.net.link(pod.path, 'eth0')).toBeUndefined()
    expect([...admin.settings]).toEqual([])
    expect(await node.remains()).toEqual([])
  })

  it('are not offered by hardware that has none, and refused if an agent asks for them all the same', async () => {
    const agent = new FakeAgent()
    agent.result = { vf: WANTED }
    lab = await HostLab.start({ agent })
    let offered: unknown = 'nothing was asked'
    agent.afterAttach = (call) => void (offered = Object.keys(call).includes('hostEnforces'))
    await using pod = await lab.pod()
    expect(await said(lab.call('ADD', pod))).toMatchObject({
      exitCode: 1,
      json: { code: 106, msg: expect.stringMatching(/vlan, trust cannot be enforced by hardware "soft"/) as string },
    })
    expect(offered).toBe(false)
    expect(await lab.remains()).toEqual([])
  })

  it('are compared by CHECK', async () => {
    const [node, admin] = await start(WANTED)
    await using pod = await node.pod()
    const { json } = await said(node.call('ADD', pod))
    const check = (): ReturnType<typeof said> => said(node.call('CHECK', pod, { netconf: { prevResult: json } }))
    expect(await check()).toMatchObject({ exitCode: 0 })
    admin.settings.set('soft0/0', { ...WANTED, trust: true })
    expect(await check()).toMatchObject({ exitCode: 1, json: { msg: expect.stringContaining('VF soft0/0: trust differs') as string } })
    admin.silent = true
    expect(await check()).toMatchObject({ exitCode: 1, json: { msg: expect.stringContaining('cannot be asked') as string } })
  })

  it('go when the daemon was killed before the pod was complete', async () => {
    const [node, admin] = await start(WANTED)
    await using pod = await node.pod()
    expect(await said(node.call('ADD', pod))).toMatchObject({ exitCode: 0 })
    await node.stopHost()
    // What the journal says from the agent's answer on until the pod is complete.
    const journal = new DatabaseSync(node.journal)
    journal.exec("UPDATE attachments SET phase = 'attached'")
    journal.close()
    await node.startHost()
    expect([...admin.settings]).toEqual([])
    await eventually(async () => (await node.remains()).length === 0, 'the agent was told, too')
  })

  it('outlive the daemon, with what the host had offered, and go when the pod goes', async () => {
    const [node, admin] = await start(WANTED)
    await using pod = await node.pod()
    const { json } = await said(node.call('ADD', pod))
    await node.stopHost()
    // Every VF is in a pod, so that nothing can be tried.
    admin.offers = []
    await node.startHost()
    expect([...admin.settings]).toEqual([['soft0/0', WANTED]])
    expect(await said(node.call('CHECK', pod, { netconf: { prevResult: json } }))).toMatchObject({ exitCode: 0 })
    await expect.poll(() => node.agent.resyncs.length, { timeout: 30_000 }).toBeGreaterThan(1)
    expect([...node.agent.attachments.values()].map(({ hostEnforces }) => hostEnforces)).toEqual([['vlan', 'trust']])
    await node.call('DEL', pod)
    expect([...admin.settings]).toEqual([])
  })
})
