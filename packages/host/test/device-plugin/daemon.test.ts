import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isRoot, ROOT_REASON } from '@cni-offload/testing'
import { FakeKubelet } from '@cni-offload/testing/kubelet'
import { describe, expect, it } from 'vitest'
import type { DevicePluginConfig } from '../../src/index.ts'
import { FakeAgent } from '../support/fake-agent.ts'
import { eventually, HostLab } from '../support/lab.ts'
import { RESOURCE } from './lab.ts'

/** A daemon that advertises to a kubelet of its own. */
async function advertising(
  stack: AsyncDisposableStack,
  vfs: number,
  config: DevicePluginConfig,
  agent?: FakeAgent,
): Promise<{ lab: HostLab; kubelet: FakeKubelet }> {
  const dir = await mkdtemp(join(tmpdir(), 'dpd-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const kubelet = stack.use(await FakeKubelet.start(dir))
  const lab = stack.use(await HostLab.start({ vfs, ...(agent === undefined ? {} : { agent }), host: { devicePlugin: { dir, ...config } } }))
  await kubelet.until(() => kubelet.available(RESOURCE).length === vfs, 'the devices')
  return { lab, kubelet }
}

const status = async (lab: HostLab): Promise<{ exitCode: number; output: string }> =>
  await lab.call('STATUS', { path: '', containerId: '', identity: { namespace: '', name: '', uid: '' } }, { env: { CNI_IFNAME: '' } })

describe.skipIf(!isRoot())(`a daemon that advertises its VFs (${ROOT_REASON})`, () => {
  it('refuses settings that are wrong before it touches anything', async () => {
    await using lab = await HostLab.make()
    const host = lab.daemon({ devicePlugin: { resources: [{ name: 'vf' }] } })
    await expect(host.run(new AbortController().signal)).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: 'devicePlugin: resources.0.name = "vf": domain/name, such as example.com/vf',
    })
  })

  it('serves CNI calls while there is no kubelet', async () => {
    await using lab = await HostLab.start({ host: { devicePlugin: { dir: '/nonexistent/kubelet', resources: [{ name: RESOURCE }] } } })
    await using pod = await lab.pod()
    expect(await lab.call('ADD', pod)).toMatchObject({ exitCode: 0 })
    expect(await lab.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  it('is ready when kubelet’s count says that it is full, and not when its VFs are broken', async () => {
    await using stack = new AsyncDisposableStack()
    const { lab } = await advertising(stack, 1, { resources: [{ name: RESOURCE }] })
    await using pod = await lab.pod()
    await lab.call('ADD', pod)
    expect(await status(lab)).toMatchObject({ exitCode: 0 })
    lab.agent.before = (method) => {
      if (method === 'detach') throw new Error('stuck')
    }
    await lab.call('DEL', pod)
    expect(await status(lab)).toMatchObject({ exitCode: 1, output: expect.stringContaining('no VF is free: 0 leased, 1 quarantined') })
    lab.agent.before = () => {}
    await eventually(async () => (await status(lab)).exitCode === 0, 'the VF is free again')
  })

  it('tells kubelet of a VF that a pod left unclean, and of an agent that has gone', async () => {
    await using stack = new AsyncDisposableStack()
    const agent = new FakeAgent()
    const { lab, kubelet } = await advertising(stack, 2, { resources: [{ name: RESOURCE }], agentGraceMs: 200 }, agent)
    await using pod = await lab.pod()
    await lab.call('ADD', pod)
    agent.before = (method) => {
      if (method === 'detach') throw new Error('stuck')
    }
    await lab.call('DEL', pod)
    await kubelet.until(() => kubelet.available(RESOURCE).length === 1, 'the VF in quarantine')
    agent.before = () => {}
    await kubelet.until(() => kubelet.available(RESOURCE).length === 2, 'the VF is free again')
    agent.become('unreachable')
    await kubelet.until(() => kubelet.available(RESOURCE).length === 0, 'no VF without agent')
    agent.become('ready')
    await kubelet.until(() => kubelet.available(RESOURCE).length === 2, 'all VFs with it')
  })

  it('gives a pod the VF that kubelet has chosen for it, and no other pod that one', async () => {
    await using stack = new AsyncDisposableStack()
    const { lab, kubelet } = await advertising(stack, 2, { resources: [{ name: RESOURCE, allocation: 'exact' }] })
    await using anybody = await lab.pod('anybody')
    expect(await lab.call('ADD', anybody)).toMatchObject({ output: expect.stringContaining('2 kept for others') })
    const { ids } = await kubelet.admit(RESOURCE, 1, ['soft0/1'])
    await using pod = await lab.pod('chosen')
    expect(await lab.call('ADD', pod, { netconf: { deviceID: ids[0] } })).toMatchObject({ exitCode: 0 })
    expect((await lab.inspect()).leases.map(({ state }) => state)).toEqual(['free', 'leased'])
    await lab.call('DEL', pod)
  })
})
