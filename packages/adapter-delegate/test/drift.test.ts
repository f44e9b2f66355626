import type { Link } from '@cni-offload/linux'
import { ping, wirePod } from '@cni-offload/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

describe.skipIf(!isRoot)(`what the plugins made and somebody has changed ${NEEDS_ROOT}`, () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await Lab.create(1)
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  /** The end on the DPU of what the bridge plugin made. */
  const branch = async (): Promise<Link> => {
    const links = await lab.net.links(lab.bench.dpuNetns)
    const bridge = links.find(({ name }) => name === 'cni0')
    return links.find(({ kind, master }) => kind === 'veth' && master === bridge?.index) ?? expect.fail('there is no branch')
  }

  it('is made anew for a running pod, with its addresses, if their CHECK had found it before', async () => {
    await lab.start([lab.bridge()])
    const result = await lab.adapter.attach(lab.request(0), ctx())
    await wirePod(lab.net, lab.at(0).pod.path, 'eth0', result)
    const check = { key: lab.request(0).key, port: lab.at(0).port, expected: result }
    await lab.adapter.check(check, ctx())
    const { name } = await branch()
    await lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.set', dev: name, master: null }])
    await expect(lab.adapter.check(check, ctx())).rejects.toMatchObject({ code: 'CHECK_FAILED' })
    expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(result)
    await lab.adapter.check(check, ctx())
    expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it('stays as it is for a CHECK that never has: the pod runs', async () => {
    await lab.script(
      'grumbler',
      'case $CNI_COMMAND in ADD) sed "s/.*\\"prevResult\\"://; s/}$//" ;; CHECK) echo "{\\"code\\": 100, \\"msg\\": \\"never\\"}"; exit 1 ;; VERSION) echo "{\\"cniVersion\\": \\"1.0.0\\", \\"supportedVersions\\": [\\"1.0.0\\"]}" ;; esac',
    )
    await lab.start([lab.bridge(), { type: 'grumbler' }])
    const result = await lab.adapter.attach(lab.request(0), ctx())
    const check = { key: lab.request(0).key, port: lab.at(0).port, expected: result }
    const before = await branch()
    for (let turn = 0; turn < 2; turn++) {
      await expect(lab.adapter.check(check, ctx())).rejects.toMatchObject({ code: 'CHECK_FAILED' })
      expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(result)
    }
    expect((await branch()).index).toBe(before.index)
  })
})
