import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspectNode, type LabNode } from '@cni-offload/cli'
import { type Admission, FakeKubelet } from '@cni-offload/testing/kubelet'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { E2eLab, needsRoot, NOTHING_HELD } from './fixture.ts'

const COUNTED = 'example.com/vf'
const EXACT = 'example.com/exact'

describe.skipIf(needsRoot)('VFs as resources of kubelet (needs root: makes network namespaces)', () => {
  let dir: string
  let kubelet: FakeKubelet
  let e2e: E2eLab
  let node: LabNode

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'dp-'))
    kubelet = new FakeKubelet(dir)
    const resources = [{ name: EXACT, allocation: 'exact', select: { vfs: '2-3' } }, { name: COUNTED }]
    e2e = await E2eLab.up({ nodes: 1, vfs: 4, extra: { host: { devicePlugin: { dir, resources, agentGraceMs: 1000 } } } })
    node = e2e.lab.node(1)
  })
  afterAll(async () => {
    await e2e?.[Symbol.asyncDispose]()
    await kubelet[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  })

  const available = (): number => kubelet.available(COUNTED).length + kubelet.available(EXACT).length
  const del = async (pod: string, admission: Admission): Promise<void> => {
    expect(await e2e.call(node, 'DEL', pod)).toMatchObject({ exitCode: 0 })
    await e2e.lab.deletePod(pod)
    kubelet.release(admission)
  }
  /** Which VF a pod has. */
  const vfOf = async (pod: string): Promise<string | undefined> => {
    const { host } = await inspectNode(e2e.lab, e2e.net, node)
    return 'error' in host ? undefined : host.attachments.find(({ key }) => key.containerId === pod)?.vf
  }

  it('are as many devices as the card has VFs, once kubelet has come', async () => {
    await kubelet.start()
    await kubelet.until(() => available() === 4, 'four devices')
    expect(kubelet.available(EXACT)).toEqual(['soft0/2', 'soft0/3'])
    expect(kubelet.registrations.map(({ resourceName }) => resourceName).toSorted()).toEqual([EXACT, COUNTED])
  })

  it('are counted: every pod that kubelet admits gets a VF, and it admits no more', async () => {
    const pods: [string, Admission][] = []
    for (const pod of ['a', 'b']) {
      pods.push([pod, await kubelet.admit(COUNTED, 1)])
      await e2e.addPod(node, pod)
    }
    await expect(kubelet.admit(COUNTED, 1)).rejects.toThrow(`requested ${COUNTED}: 1, available: 0`)
    await e2e.lab.createPod('uninvited')
    expect((await e2e.call(node, 'ADD', 'uninvited')).json).toMatchObject({ code: 11, msg: expect.stringContaining('2 kept for others') })
    await e2e.lab.deletePod('uninvited')
    const [[first, admission]] = pods as [[string, Admission]]
    await del(first, admission)
    const again = await kubelet.admit(COUNTED, 1)
    await e2e.addPod(node, 'c')
    await del('b', pods[1]![1])
    await del('c', again)
    expect(await e2e.held(node)).toEqual(NOTHING_HELD)
  })

  it('are exact: the pod gets the very VF that kubelet has chosen', async () => {
    const admission = await kubelet.admit(EXACT, 1, ['soft0/3'])
    expect(admission.envs).toEqual({ PCIDEVICE_EXAMPLE_COM_EXACT: 'soft0/3' })
    await e2e.addPod(node, 'exact', { deviceID: admission.ids[0] })
    expect(await vfOf('exact')).toBe('soft0/3')
    await e2e.lab.createPod('thief')
    expect((await e2e.call(node, 'ADD', 'thief', { conf: { deviceID: 'soft0/3' } })).json).toMatchObject({ code: 11 })
    await e2e.lab.deletePod('thief')
    await del('exact', admission)
    expect(await e2e.held(node)).toEqual(NOTHING_HELD)
  })

  it('survive kubelet, the daemon and the agent, while a pod runs', async () => {
    const admission = await kubelet.admit(COUNTED, 1)
    const prevResult = await e2e.addPod(node, 'runs')
    kubelet.stop()
    await kubelet.start()
    await kubelet.until(() => available() === 3, 'devices after a restart of kubelet')
    await e2e.lab.kill(node, 'host')
    await kubelet.until(() => kubelet.devices(COUNTED) === undefined && kubelet.devices(EXACT) === undefined, 'the daemon is gone')
    await e2e.lab.start(node, 'host')
    await kubelet.until(() => available() === 3, 'devices after a crash of the daemon')
    await e2e.lab.kill(node, 'agent')
    await kubelet.until(() => available() === 0, 'no device without agent')
    await e2e.lab.start(node, 'agent')
    await kubelet.until(() => available() === 3, 'devices with it')
    expect(await e2e.call(node, 'CHECK', 'runs', { conf: { prevResult } })).toMatchObject({ exitCode: 0 })
    await del('runs', admission)
    await e2e.lab.kill(node, 'host', 'SIGTERM')
    await kubelet.until(() => kubelet.devices(COUNTED) === undefined, 'the daemon has said good-bye')
    await e2e.lab.start(node, 'host')
    await kubelet.until(() => available() === 4, 'all devices')
    expect(await e2e.held(node)).toEqual(NOTHING_HELD)
  })
})
