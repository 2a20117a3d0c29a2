/** The answer does not have the promised shape. The message names the member and never its value. */
export class UnexpectedAnswer extends Error {
  constructor(member: string) {
    super(`unexpected answer: ${member}`);
    this.name = 'UnexpectedAnswer';
  }
}
