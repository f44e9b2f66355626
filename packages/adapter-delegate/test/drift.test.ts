import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
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

  describe('is made anew as well', () => {
    const attached = async () => {
      const list = [lab.bridge()]
      await lab.start(list)
      const result = await lab.adapter.attach(lab.request(0), ctx())
      await wirePod(lab.net, lab.at(0).pod.path, 'eth0', result)
      const asked = { key: lab.request(0).key, port: lab.at(0).port, expected: result }
      await lab.adapter.check(asked, ctx())
      const spoil = async (): Promise<void> =>
        lab.net.apply(lab.bench.dpuNetns, [{ op: 'link.set', dev: (await branch()).name, master: null }])
      const mends = async (): Promise<void> => {
        await expect(lab.adapter.check(asked, ctx())).rejects.toMatchObject({ code: 'CHECK_FAILED' })
        expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(result)
        await lab.adapter.check(asked, ctx())
        expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
      }
      return { list, result, spoil, mends }
    }

    it('when it was damaged while no adapter ran', async () => {
      const { list, spoil, mends } = await attached()
      await lab.stop()
      await spoil()
      await lab.start(list)
      await mends()
    })

    it('when it was damaged after it had been made anew for another reason, before any CHECK', async () => {
      const { result, spoil, mends } = await attached()
      await lab.net.apply(lab.proxy(0).path, [{ op: 'link.del', dev: 'eth0' }])
      expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(result)
      await spoil()
      await mends()
    })
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

  describe('where a plugin is not itself', () => {
    const pass = 'sed "s/.*\\"prevResult\\"://; s/}$//"'
    const code = (number: number): string => `{ echo "{\\"code\\": ${number}, \\"msg\\": \\"away\\"}"; exit 1; }`
    const file = (name: string): string => join(lab.folder, name)

    /** A plugin that answers CHECK and DEL with these commands where the file `check` or `del` is there. */
    const attached = async (onCheck: string, onDel: string) => {
      const [check, del] = [`[ ! -e ${file('check')} ] || ${onCheck}`, `[ ! -e ${file('del')} ] || ${onDel}`]
      await lab.script('moody', `case $CNI_COMMAND in ADD) ${pass} ;; CHECK) ${check} ;; DEL) ${del} ;; esac`)
      await lab.start([lab.bridge(), { type: 'moody' }])
      const result = await lab.adapter.attach(lab.request(0), ctx())
      await wirePod(lab.net, lab.at(0).pod.path, 'eth0', result)
      const asked = { key: lab.request(0).key, port: lab.at(0).port, expected: result }
      await lab.adapter.check(asked, ctx())
      await Promise.all([writeFile(file('check'), ''), writeFile(file('del'), '')])
      return { result, check: () => lab.adapter.check(asked, ctx()), before: (await branch()).index }
    }

    it.each([
      ['says "try again later"', code(11)],
      ['cannot read', code(5)],
      ['says nothing that can be understood', '{ echo oops; exit 1; }'],
    ])('a pod that is well goes on when its CHECK %s', async (_what, answer) => {
      const { before, check, result } = await attached(answer, code(11))
      const pinging = ping(lab.at(0).pod.path, '10.77.0.1', { count: 10 })
      await expect(check()).rejects.toMatchObject({ code: 'ADAPTER_FAILED' })
      expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(result)
      expect(await pinging).toEqual({ sent: 10, received: 10 })
      expect((await branch()).index).toBe(before)
    })

    it('it is made anew three times at most for a CHECK that goes on to find damage', async () => {
      const { before, check, result } = await attached(code(999), 'true')
      const seen = new Set([before])
      for (let turn = 0; turn < 6; turn++) {
        await expect(check()).rejects.toMatchObject({ code: 'CHECK_FAILED' })
        expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(result)
        seen.add((await branch()).index)
      }
      expect(seen.size).toBe(4)
    })

    it('it goes on where CHECK finds damage and DEL fails, and is made anew once DEL succeeds', async () => {
      const { before, check, result } = await attached(code(999), code(11))
      for (let turn = 0; turn < 2; turn++) {
        await expect(check()).rejects.toMatchObject({ code: 'CHECK_FAILED' })
        await expect(lab.adapter.attach(lab.request(0), ctx())).rejects.toMatchObject({ message: expect.stringMatching(/moody", DEL/) })
        expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
      }
      expect((await branch()).index).toBe(before)
      await Promise.all([rm(file('check')), rm(file('del'))])
      await check()
      await writeFile(file('check'), '')
      await expect(check()).rejects.toMatchObject({ code: 'CHECK_FAILED' })
      expect(await lab.adapter.attach(lab.request(0), ctx())).toEqual(result)
      expect((await branch()).index).not.toBe(before)
      expect(await ping(lab.at(0).pod.path, '10.77.0.1')).toEqual({ sent: 3, received: 3 })
    })
  })
})
