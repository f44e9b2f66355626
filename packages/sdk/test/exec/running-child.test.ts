import { describe, expect, it } from 'vitest'
import { startChild } from '@cni-offload/sdk/exec'

const env = { PATH: process.env['PATH'] ?? '' }
const run = async (script: string) => {
  const lines: string[] = []
  const child = await startChild({ argv: ['/bin/sh', '-c', script], env }, (line) => void lines.push(line))
  return { child, lines }
}

describe('startChild', { timeout: 60_000 }, () => {
  it('tells the lines of both streams, the last ones before the end', async () => {
    const { child, lines } = await run('echo one; echo two >&2; printf three; exit 7')
    expect(await child.ended).toEqual({ exitCode: 7, exitSignal: null })
    expect(lines.toSorted()).toEqual(['one', 'three', 'two'])
    child.kill('SIGINT')
  })

  it('has told all that was printed when it tells the end, however much that is', async () => {
    const { child, lines } = await run('seq 1 50000; seq 1 50000 >&2; exit 0')
    await child.ended
    expect(lines).toHaveLength(100_000)
  })

  it('tells which signal has ended it', async () => {
    const { child } = await run('exec sleep 600')
    child.kill('SIGTERM')
    expect(await child.ended).toEqual({ exitCode: null, exitSignal: 'SIGTERM' })
  })

  it('does not wait for whoever holds its output open', async () => {
    const { child, lines } = await run('sleep 600 & echo $!; exit 0')
    expect(await child.ended).toEqual({ exitCode: 0, exitSignal: null })
    process.kill(Number(lines[0]), 'SIGKILL')
  })

  it('refuses what is no program', async () => {
    await expect(startChild({ argv: ['/nonexistent/program'], env }, () => {})).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
