/** As much of the library's types as the demo's issuer needs; it ships none. */
declare module 'oidc-provider' {
  export default class Provider {
    constructor(issuer: string, configuration: object);
    listen(port: number, host: string, listening: () => void): unknown;
  }
}
