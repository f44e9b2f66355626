import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { promisify } from 'node:util'
import { ROOT_REASON } from '@cni-offload/testing'
import { describe, expect, test } from 'vitest'

const MAIN = new URL('../src/main.ts', import.meta.url).pathname

describe.skipIf(process.getuid?.() !== 0)(`assembling an agent (${ROOT_REASON})`, () => {
  test('works and leaves nothing behind', async () => {
    const own = (names: string[]): string[] => names.filter((name) => /^(exh|exd)/.test(name))
    const before = own(await readdir('/run/netns').catch(() => []))
    const { stdout } = await promisify(execFile)(process.execPath, [MAIN])
    expect(stdout).toMatch(/agent at tcp:\/\/127\.0\.0\.1:\d+, protocol 1, networks \*/)
    expect(stdout.match(/pod a reaches pod b at /g)).toHaveLength(2)
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('ok')
    expect(own(await readdir('/run/netns'))).toEqual(before)
  })

  test('says why it cannot work without root', async () => {
    const nobody = { uid: 65_534, gid: 65_534 }
    await expect(promisify(execFile)(process.execPath, [MAIN], nobody)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining(ROOT_REASON) as string,
    })
  })
})
