import { datagramRate } from '@cni-offload/testing'
import { describe, expect, test } from 'vitest'
import { EVERYTHING, Lab, NEEDS_ROOT, PATIENCE, unprivileged } from './lab.ts'

describe.skipIf(unprivileged)(`the largest rate ${NEEDS_ROOT}`, { timeout: PATIENCE }, () => {
  test.each(EVERYTHING ? [20, 80] : [20])('of %d Mbit/s is kept within a tenth over 5 s', async (mbit) => {
    await using lab = await Lab.create(2)
    await lab.connect(0, { max_tx_rate: mbit })
    await lab.connect(1)
    const rate = await datagramRate(lab.net, { from: lab.at(0).pod.path, to: lab.at(1).pod.path, address: '10.9.0.2' }, 5_000)
    expect(rate / mbit).toBeGreaterThan(0.9)
    expect(rate / mbit).toBeLessThan(1.1)
  })
})
